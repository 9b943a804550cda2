"""Authentication and permissions of fields. The only module that creates an `OwnerId`."""

from abc import abstractmethod
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import strawberry
from strawberry.permission import BasePermission

from db.errors import Forbidden, NotFound, Unauthenticated
from db.kit.base import OwnerId
from db.services import Services
from db.users import Role, Sessions, UserRow, Users, canonical_email


class Viewer(NamedTuple):
    """The user that a verified access token identifies."""

    id: UUID
    role: str
    expires_at: datetime
    session_id: UUID | None = None
    """None for tokens of an external issuer, which has the sessions."""

    @property
    def owner(self) -> OwnerId:
        return OwnerId(self.id)

    @property
    def is_admin(self) -> bool:
        return self.role == Role.ADMIN


async def authenticate(services: Services, authorization: str | None) -> Viewer | None:
    """Verifies the `Authorization` header of a request or of `connection_init`.

    Returns:
        The viewer, or None if there is no header.

    Raises:
        Unauthenticated: The header is not a bearer token, or the token is not valid.
    """
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated(
            "The Authorization header does not use the Bearer scheme.",
            hint="Send `Authorization: Bearer <accessToken>`, or omit the header.",
        )
    verified = await services.identity.verifier.verify(token.strip())
    return Viewer(*verified)


async def require_session(services: Services, user_id: UUID, session_id: UUID) -> None:
    """Reads whether a session is live, at this moment and on every replica.

    Raises:
        Forbidden: The session has ended.
    """
    async with services.database.read() as session:
        role = await Sessions(session).role(session_id, user_id)
    if role is None:
        raise Forbidden(
            "The session that requested this link has ended.",
            hint="Sign in, and request a new link.",
        )


def owner_of_link(user_id: UUID) -> OwnerId:
    """The owner that a verified link names (graph.kit.signed_links)."""
    return OwnerId(user_id)


async def user_of_email(services: Services, email: str) -> UserRow:
    """Finds an account for a command of the operator. Raises `NotFound` if there is none."""
    canonical = canonical_email(email)
    async with services.database.read() as session:
        row = await Users(session).by_email(canonical)
    if row is None:
        raise NotFound(
            f"No user has the e-mail address {canonical}.",
            hint="Run `howdah user list` to see all users, or `howdah user create` to add one. "
            "If the server has a --data-dir, or is the demo, pass its --data-dir here too.",
        )
    return row[0]


async def owner_of_email(services: Services, email: str) -> OwnerId:
    """The owner of the rows that a command of the operator may read and change."""
    return OwnerId((await user_of_email(services, email)).id)


class Permission(BasePermission):
    """Decides whether the caller may use a field. Raises an error that says what is missing."""

    def has_permission(self, source: Any, info: strawberry.Info, **kwargs: Any) -> bool:  # noqa: ARG002 - Strawberry's signature
        return self.allows(info.context)

    @abstractmethod
    def allows(self, context: Any) -> bool:
        """Returns true if the viewer of this context may use the field."""


class Anyone(Permission):
    """Allows every caller, signed in or not."""

    def allows(self, context: Any) -> bool:  # noqa: ARG002 - allows every context
        return True


class SignedIn(Permission):
    """Allows callers with a valid access token."""

    def allows(self, context: Any) -> bool:
        return context.signed_in is not None


class AdminOnly(Permission):
    """Allows callers with the `ADMIN` role."""

    def allows(self, context: Any) -> bool:
        if not context.signed_in.is_admin:
            raise Forbidden(
                "This field requires the ADMIN role.",
                hint="Ask the operator to run `howdah user promote` for this account.",
            )
        return True

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
from db.users import (
    AccessTokenScope,
    Role,
    Scopes,
    Sessions,
    UnscopedAccessTokens,
    UserRow,
    Users,
    canonical_email,
)

ANY_TOKEN: Scopes = frozenset()
"""For fields that every access token may use."""


class Viewer(NamedTuple):
    """The user that a verified access token identifies."""

    id: UUID
    role: str
    expires_at: datetime
    session_id: UUID | None = None
    """None for tokens of an external issuer, which has the sessions, and for access tokens."""
    scopes: Scopes | None = None
    """What an access token for programs may do; None for a session, which may do everything."""
    token_id: UUID | None = None
    """The ID of the access token for programs."""

    @property
    def owner(self) -> OwnerId:
        return OwnerId(self.id)

    @property
    def is_admin(self) -> bool:
        return self.role == Role.ADMIN and self.may(AccessTokenScope.ADMIN_READ)

    @property
    def must_read_only(self) -> bool:
        """Whether every statement of this viewer on their databases has to be read-only."""
        return not self.may(AccessTokenScope.WORKBENCH_WRITE)

    def may(self, scope: AccessTokenScope) -> bool:
        return self.scopes is None or scope in self.scopes

    def require_scopes(self, required: Scopes | None) -> None:
        """Raises `Forbidden` for an access token without them; None admits sessions only."""
        if self.scopes is None or (required is not None and required <= self.scopes):
            return
        if required is None:
            raise Forbidden(
                "An access token for programs may not use this operation.",
                hint="Sign in, and use the access token of the session.",
            )
        missing = sorted(required - self.scopes)
        if len(missing) == 1:
            what, which = "scope", "this scope"
        else:
            what, which = "scopes", "these scopes"
        raise Forbidden(
            f"This access token lacks the {what} {' and '.join(missing)}.",
            hint=f"Create a token with {which} by `createAccessToken`.",
        )


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
    verifier, token = services.identity.verifier, token.strip()
    return Viewer._make(verifier.known(token) or await verifier.verify(token))


async def require_credential(
    services: Services, user_id: UUID, session_id: UUID | None, token_id: UUID | None
) -> None:
    """Reads whether a session or an access token is valid, at this moment and on every replica.

    Raises:
        Forbidden: It has ended, or its user was removed.
    """
    async with services.database.read() as session:
        if session_id is not None:
            is_valid = await Sessions(session).live(session_id, user_id) is not None
        elif token_id is not None:
            is_valid = await UnscopedAccessTokens(session).is_valid(token_id, user_id)
        else:  # a user of an external issuer, which has the sessions
            user = await Users(session).by_id(user_id)
            is_valid = user is not None and user.suspended_at is None
    if not is_valid:
        raise Forbidden(
            "The session that requested this link has ended.",
            hint="Sign in, or use a valid access token, and request a new link.",
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

"""Who is asking: token -> Viewer, and the permissions fields ask for. The only mint of OwnerId."""

from abc import abstractmethod
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

import strawberry
from strawberry.permission import BasePermission

from db.errors import Forbidden, NotFound, Unauthenticated
from db.kit.base import OwnerId
from db.services import Services
from db.users import UserRow, Users, canonical_email


@strawberry.enum(description="What a person may do.")
class Role(Enum):
    """As it stands in the table too."""

    USER = strawberry.enum_value("USER", description="Whatever concerns their own things.")
    ADMIN = strawberry.enum_value("ADMIN", description="That, and running the server.")


_ROLES = {str(role.value): role for role in Role}


class Viewer(NamedTuple):
    """The person a verified token speaks for."""

    id: UUID
    role: Role
    expires_at: datetime

    @property
    def owner(self) -> OwnerId:
        return OwnerId(self.id)

    @property
    def is_admin(self) -> bool:
        return self.role is Role.ADMIN


async def authenticate(services: Services, authorization: str | None) -> Viewer | None:
    """Whom an `Authorization` header, or a WebSocket's, speaks for; None when there is none."""
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated(
            "The Authorization header is not of the kind that is expected here.",
            hint="Send `Authorization: Bearer <accessToken>`, or none.",
        )
    verified = await services.identity.verifier.verify(token.strip())
    return Viewer(verified.user_id, _ROLES[verified.role], verified.expires_at)


async def user_of_email(services: Services, email: str) -> UserRow:
    """An account of ours, for whoever works on the server itself."""
    canonical = canonical_email(email)
    async with services.database.read() as session:
        found = await Users(session).by_email(canonical)
    if found is None:
        raise NotFound(
            f"Nobody has the e-mail address {canonical}.",
            hint="`howdah user list` shows everybody, `howdah user create` adds somebody.",
        )
    return found[0]


async def owner_of_email(services: Services, email: str) -> OwnerId:
    """Whose rows a command on the server itself may touch."""
    return OwnerId((await user_of_email(services, email)).id)


class Permission(BasePermission):
    """What a field asks of who calls it. Raises by itself, so that they hear what is missing."""

    def has_permission(self, source: Any, info: strawberry.Info, **kwargs: Any) -> bool:  # noqa: ARG002 - Strawberry's signature
        return self.allows(info.context)

    @abstractmethod
    def allows(self, context: Any) -> bool:
        """Whether the operation of this context may go on."""


class Anyone(Permission):
    """No session needed."""

    def allows(self, context: Any) -> bool:  # noqa: ARG002 - whoever it is
        return True


class SignedIn(Permission):
    """Any person with a session."""

    def allows(self, context: Any) -> bool:
        return context.signed_in is not None


class AdminOnly(Permission):
    """Only who runs the server."""

    def allows(self, context: Any) -> bool:
        if not context.signed_in.is_admin:
            raise Forbidden(
                "Only an admin may do this.",
                hint="The operator makes somebody an admin with `howdah user promote`.",
            )
        return True

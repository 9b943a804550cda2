"""Who is asking: token -> Viewer, and the permissions fields ask for. The only mint of OwnerId."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from uuid import UUID

from db.base import OwnerId


class Role(Enum):
    """What a person may do beyond their own things."""

    USER = "USER"
    ADMIN = "ADMIN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
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

"""User accounts: with e-mail and password, or of an external issuer."""

import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, NamedTuple
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    Index,
    Text,
    UniqueConstraint,
    bindparam,
    text,
)

from db.errors import BadInput, NotFound
from db.kit.base import (
    Base,
    HasId,
    HasTimes,
    HasVersion,
    Mapped,
    TimestampText,
    mapped_column,
    sql_list,
)
from db.kit.repository import Repository, S
from db.kit.text_rules import Required
from db.postgres.sessions import Session

name_rule = Required("name", max_length=100)
_email_text = Required("email", max_length=254)
_LABEL = r"[^\W_](?:[^\W_]|-){0,62}"
_EMAIL = re.compile(rf"[^\s@\"(),:;<>\[\]\\]{{1,64}}@{_LABEL}(?:\.{_LABEL})+")


class Role(StrEnum):
    USER = "USER"
    ADMIN = "ADMIN"


class User(HasId, HasTimes, HasVersion, Base):
    """A user is identified by e-mail address or by (issuer, subject), never by both.

    Addresses are unique among own accounts only: an address claimed by an issuer is unverified, so
    it neither matches nor blocks an account.
    """

    __tablename__ = "users"

    email: Mapped[str | None] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(Text, server_default=Role.USER)
    password_hash: Mapped[str | None] = mapped_column(Text)
    issuer: Mapped[str | None] = mapped_column(Text)
    subject: Mapped[str | None] = mapped_column(Text)
    removed_at: Mapped[datetime | None]
    suspended_at: Mapped[TimestampText | None]

    __table_args__ = (
        CheckConstraint(f"role IN {sql_list(Role)}", name="role"),
        CheckConstraint("(issuer IS NULL) = (subject IS NULL)", name="subject_of_issuer"),
        CheckConstraint("email IS NOT NULL OR issuer IS NOT NULL", name="known_by"),
        Index("uq_users_email", "email", unique=True, postgresql_where=text("issuer IS NULL")),
        UniqueConstraint("issuer", "subject"),
        Index("ix_users_created", "created_at", "id"),
    )
    __table_info__: ClassVar[Mapping[str, str]] = {"owner": "id"}


class UserRow(NamedTuple):
    """A user without the password hash."""

    id: UUID
    email: str | None
    name: str
    role: str
    created_at: TimestampText
    suspended_at: TimestampText | None = None
    """Time from which the user cannot sign in; their data stays."""


class ExternalUser(NamedTuple):
    """The identity in a token of an external issuer."""

    issuer: str
    subject: str
    email: str | None
    name: str


def canonical_email(email: str) -> str:
    """One spelling for each address, so that `Ann@Example.com` is `ann@example.com`."""
    canonical = unicodedata.normalize("NFC", _email_text.checked(email).lower())
    if _EMAIL.fullmatch(canonical) is None:
        raise BadInput(
            "`email` is not a valid e-mail address.",
            hint="Pass an address like `name@example.com`.",
            field="email",
        )
    return canonical


class OwnUser(Repository[UserRow, S]):
    """The row of the user themselves, as its owner."""

    model = User
    row = UserRow
    noun = "user"

    @classmethod
    def is_owned(cls) -> ColumnElement[bool]:
        return cls.table().c.id == bindparam("owner_id")

    async def rename(self: "OwnUser[Session]", name: str) -> UserRow:
        change = self._update(("name",), False)
        renamed = await self.one(change, id=self.owner, name=name_rule.checked(name))
        if renamed is None:
            raise NotFound("This account was deleted.", hint="Sign in with another account.")
        return renamed

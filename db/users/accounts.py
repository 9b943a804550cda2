"""User accounts: with e-mail and password, or of an external issuer."""

import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, NamedTuple
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    Index,
    Select,
    Text,
    UniqueConstraint,
    bindparam,
    delete,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql import ClauseElement

from db.errors import BadInput, Conflict, NotFound
from db.kit.base import Base, HasId, HasTimes, HasVersion, TimestampText, new_id, sql_list
from db.kit.repository import Repository, S
from db.kit.text_rules import Required
from db.postgres.engine import Session
from db.postgres.statements import change_statement, statement

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


class Users(Generic[S]):
    """All users: for authentication and the operator. The API uses `OwnUser`."""

    def __init__(self, session: S) -> None:
        self._session = session

    async def by_id(self, user_id: UUID) -> UserRow | None:
        return _row(await self._session.row(self._by_id(), id=user_id))

    async def by_email(self, email: str) -> tuple[UserRow, str | None] | None:
        """An own account and its password hash."""
        row = await self._session.row(self._by_email(), email=email)
        return None if row is None else (UserRow(*row[:-1]), row[-1])

    async def with_password(self, user_id: UUID) -> tuple[UserRow, str] | None:
        """A user and their password hash; None if they have no password."""
        row = await self._session.row(self._with_password(), id=user_id)
        return None if row is None else (UserRow(*row[:-1]), row[-1])

    async def page(self, after: UUID | None = None) -> Sequence[UserRow]:
        """Up to 500 users after `after`, oldest first."""
        rows = await self._session.rows(self._page(), after=after or UUID(int=0))
        return [UserRow(*row) for row in rows]

    async def add(
        self: "Users[Session]",
        *,
        email: str,
        name: str,
        password_hash: str | None,
        role: str = Role.USER,
    ) -> UserRow:
        added = _row(
            await self._session.row(
                self._add(),
                id=new_id(),
                email=email,
                name=name,
                password_hash=password_hash,
                role=role,
            )
        )
        if added is None:
            raise Conflict(
                "An account with this e-mail address already exists.",
                hint="Sign in with it, or use another address.",
                field="email",
            )
        return added

    async def get_or_create_external(
        self: "Users[Session]", person: ExternalUser, *, may_create: bool = True
    ) -> UserRow | None:
        """Returns the user of an external identity, created if new.

        None if they were removed or suspended, or if they are new and `may_create` is false.
        """
        subject: Any = {"issuer": person.issuer, "subject": person.subject}
        record = await self._session.row(self._by_subject(), **subject)
        if record is None:
            if not may_create:
                return None
            new = person._asdict() | {"id": new_id()}
            (record,) = await self._session.rows(self._get_or_create_external(), **new)
        user = UserRow(*record[:-1])
        return None if record[-1] or user.suspended_at else user

    async def set_password(
        self: "Users[Session]", user_id: UUID, *, verified: str, password_hash: str
    ) -> bool:
        """Returns False if `verified` is no longer the stored hash."""
        values = {"verified": verified, "new_hash": password_hash}
        return await self._session.row(self._set_password(), id=user_id, **values) is not None

    async def remove(self: "Users[Session]", user_id: UUID) -> bool:
        """Deletes a user and everything they own.

        An external user leaves a tombstone, or their next token would create them again.
        """
        row = await self._session.row(self._remove(), id=user_id)
        if row is not None and row[0] is not None:
            issuer, subject = row
            await self._session.rows(
                self._insert_tombstone(), id=new_id(), issuer=issuer, subject=subject
            )
        return row is not None

    @classmethod
    def _select_active(cls, *more: Any) -> Select[Any]:
        return select(*_COLUMNS, *more).where(_USERS.removed_at.is_(None))

    @statement
    def _by_id(cls) -> ClauseElement:
        return cls._select_active().where(_USERS.id == bindparam("id"))

    @statement
    def _by_email(cls) -> ClauseElement:
        accounts = cls._select_active(_USERS.password_hash).where(_USERS.issuer.is_(None))
        return accounts.where(_USERS.email == bindparam("email"))

    @statement
    def _with_password(cls) -> ClauseElement:
        known = cls._select_active(_USERS.password_hash).where(_USERS.password_hash.is_not(None))
        return known.where(_USERS.id == bindparam("id"))

    @statement
    def _by_subject(cls) -> ClauseElement:
        known = select(*_COLUMNS, _USERS.removed_at).where(_USERS.issuer == bindparam("issuer"))
        return known.where(_USERS.subject == bindparam("subject"))

    @statement
    def _page(cls) -> ClauseElement:
        later = cls._select_active().where(_USERS.id > bindparam("after"))
        return later.order_by(_USERS.id).limit(500)

    @change_statement
    def _add(cls) -> ClauseElement:
        names = ("id", "email", "name", "role", "password_hash")
        new = insert(User).values({name: bindparam(name) for name in names})
        return new.on_conflict_do_nothing().returning(*_COLUMNS)

    @change_statement
    def _get_or_create_external(cls) -> ClauseElement:
        """Concurrent first tokens create one user: the later insert returns the existing row."""
        names = ("id", "email", "name", "issuer", "subject")
        new = insert(User).values({name: bindparam(name) for name in names})
        upsert = new.on_conflict_do_update(
            index_elements=[_USERS.issuer, _USERS.subject], set_={"issuer": new.excluded.issuer}
        )
        return upsert.returning(*_COLUMNS, _USERS.removed_at)

    @change_statement
    def _set_password(cls) -> ClauseElement:
        same = _USERS.password_hash == bindparam("verified")
        change = update(User).where(_USERS.id == bindparam("id"), same)
        return change.values(password_hash=bindparam("new_hash"), **_AUDIT).returning(_USERS.id)

    @change_statement
    def _remove(cls) -> ClauseElement:
        deleted = delete(User).where(_USERS.id == bindparam("id"), _USERS.removed_at.is_(None))
        return deleted.returning(_USERS.issuer, _USERS.subject)

    @change_statement
    def _insert_tombstone(cls) -> ClauseElement:
        known: dict[str, Any] = {name: bindparam(name) for name in ("id", "issuer", "subject")}
        return insert(User).values(**known, name="", removed_at=func.now())


_USERS = User.__table__.c
_COLUMNS = [_USERS[name] for name in UserRow._fields]
_AUDIT: dict[str, Any] = {"updated_at": func.now(), "version": _USERS.version + 1}


def _row(row: Any) -> UserRow | None:
    return None if row is None else UserRow(*row)

"""Preferences: JSON by key, for each user; what an editor wants to find again elsewhere."""

import re
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import ForeignKey, Text, bindparam, func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql import ClauseElement

from db.errors import BadInput, Conflict, NotFound, TooLarge
from db.kit.base import Base, HasOwner, HasTimes, HasVersion, TimestampText
from db.kit.repository import Repository, S
from db.postgres.engine import Session
from db.postgres.statements import change_statement, statement

LARGEST = 65_536
MOST = 1_000
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,199}")


class Preference(HasOwner, HasTimes, HasVersion, Base):
    """The table."""

    __tablename__ = "preferences"

    owner_id: Mapped[UUID] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class PreferenceRow(NamedTuple):
    """A preference as it was when it was read."""

    key: str
    value: str
    created_at: TimestampText
    updated_at: TimestampText
    version: int

    @property
    def opened(self) -> Any:
        return msgspec.json.decode(self.value)


class Preferences(Repository[PreferenceRow, S]):
    """The preferences of one owner."""

    model = Preference
    row = PreferenceRow
    noun = "preference"

    async def of_key(self, key: str) -> PreferenceRow | None:
        return await self.one(self._of_key(), key=checked_key(key))

    async def every(self) -> list[PreferenceRow]:
        return list(await self.all(self._every()))

    async def put(
        self: "Preferences[Session]",
        key: str,
        value: object,
        *,
        expected_version: int | None = None,
    ) -> PreferenceRow:
        """Version 0 is that of a preference that does not exist yet."""
        key, text = checked_key(key), _written(value)
        now = await self.one(self._of_key(), key=key)
        version = 0 if now is None else now.version
        if expected_version is not None and expected_version != version:
            raise _changed()
        if now is None and await self.value(self._count()) >= MOST:
            raise TooLarge(
                f"There are {MOST} preferences already.", hint="Delete some, or join several."
            )
        guard = expected_version is not None
        values = {"key": key, "value": text} | ({"expected_version": version} if guard else {})
        stored = await self.one(self._put(guard), **values)
        if stored is None:
            raise _changed()
        return stored

    async def drop(self: "Preferences[Session]", key: str) -> str:
        if not await self.run(self._drop(), key=checked_key(key)):
            raise NotFound(
                "There is no such preference.", hint="It may be deleted already.", field="key"
            )
        return key

    @statement
    def _of_key(cls) -> ClauseElement:
        return cls.owned().where(cls.table().c.key == bindparam("key"))

    @statement
    def _every(cls) -> ClauseElement:
        return cls.owned().order_by(cls.table().c.key)

    @statement
    def _count(cls) -> ClauseElement:
        return cls.owned(func.count())

    @change_statement
    def _put(cls, guarded: bool) -> ClauseElement:  # noqa: FBT001 - a shape, passed by position
        table = cls.table()
        new = insert(table).values({name: bindparam(name) for name in ("owner_id", "key", "value")})
        same = table.c.version == bindparam("expected_version") if guarded else None
        change = {"value": new.excluded.value} | cls.audit_columns()
        return new.on_conflict_do_update(
            index_elements=[table.c.owner_id, table.c.key], set_=change, where=same
        ).returning(*cls.columns())

    @change_statement
    def _drop(cls) -> ClauseElement:
        key = cls.table().c.key
        return cls.owned_delete().where(key == bindparam("key")).returning(key)


def checked_key(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise BadInput(
            "`key` is not the key of a preference.",
            hint="Write 1 to 200 letters, digits and the signs _ . : / -",
            field="key",
        )
    return key


def _written(value: object) -> str:
    try:
        text = msgspec.json.encode(value).decode()
    except (UnicodeEncodeError, RecursionError):
        raise BadInput(
            "`value` cannot be stored.",
            hint="Leave out halves of surrogate pairs, and do not nest it so deep.",
            field="value",
        ) from None
    if len(text) > LARGEST:
        raise TooLarge(
            f"`value` takes {len(text)} characters as JSON; {LARGEST} is the most.",
            hint="Split it over several keys.",
            field="value",
        )
    return text


def _changed() -> Conflict:
    return Conflict(
        "This preference has changed since it was read.",
        hint="Read it again, then send the change with its present `version`; 0 for a new one.",
        field="expectedVersion",
    )

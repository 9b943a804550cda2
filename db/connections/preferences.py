"""Preferences of a user: JSON values by key, for example the settings of an editor."""

import re
from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import ARRAY, ForeignKey, Text, any_, bindparam, func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql import ClauseElement

from db.errors import BadInput, Conflict, NotFound, TooLarge
from db.kit.base import Base, HasOwner, HasTimes, HasVersion, Mapped, TimestampText, mapped_column
from db.kit.repository import Repository, S
from db.postgres.sessions import Session
from db.postgres.statements import change_statement, statement

MAX_LENGTH = 65_536
MAX_PREFERENCES = 1_000
MAX_BYTES = 4 * 1024 * 1024
"""The limit of all values together: `preferences` returns them at once."""
MAX_KEY_LENGTH = 200
_KEY = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.:/-]{{0,{MAX_KEY_LENGTH - 1}}}")


class Preference(HasOwner, HasTimes, HasVersion, Base):
    __tablename__ = "preferences"

    owner_id: Mapped[UUID] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class PreferenceRow(NamedTuple):
    """A preference; `value` is JSON text."""

    owner_id: UUID
    key: str
    value: str
    """JSON."""
    created_at: TimestampText
    updated_at: TimestampText
    version: int


class Preferences(Repository[PreferenceRow, S]):
    """The preferences of one owner."""

    model = Preference
    row = PreferenceRow
    noun = "preference"

    async def of_key(self, key: str) -> PreferenceRow | None:
        return await self.one(self._of_key(), key=parse_key(key))

    async def of_keys(self, keys: Iterable[str]) -> list[PreferenceRow]:
        return list(await self.all(self._of_keys(), keys=list(keys)))

    async def list_all(self) -> list[PreferenceRow]:
        return list(await self.all(self._list_all()))

    async def put(
        self: "Preferences[Session]",
        key: str,
        value: object,
        *,
        expected_version: int | None = None,
    ) -> PreferenceRow:
        """Creates or replaces a preference. A missing one counts as version 0."""
        key, text = parse_key(key), _to_json(value)
        now = await self.one(self._of_key(), key=key)
        version = 0 if now is None else now.version
        if expected_version is not None and expected_version != version:
            raise _version_conflict()
        if now is None or len(text) > len(now.value):
            await self._require_room(key, len(text.encode()))
        guard = expected_version is not None
        values = {"key": key, "value": text} | ({"expected_version": version} if guard else {})
        stored = await self.one(self._put(guard), **values)
        if stored is None:
            raise _version_conflict()
        return stored

    async def _require_room(self, key: str, size: int) -> None:
        """Calls at the same time can exceed the limits by what they store."""
        ((count, others),) = await self.run(self._others(), key=key)
        if count >= MAX_PREFERENCES:
            raise TooLarge(
                f"You have {MAX_PREFERENCES} preferences, the maximum.",
                hint="Delete some, or combine several.",
            )
        if others + size > MAX_BYTES:
            raise TooLarge(
                f"Your preferences would have more than {MAX_BYTES >> 20} MiB together.",
                hint="Delete some, or store less in them.",
                field="value",
            )

    async def drop(self: "Preferences[Session]", key: str) -> str:
        if not await self.run(self._drop(), key=parse_key(key)):
            raise NotFound(
                "This preference does not exist.",
                hint="Query `preferences` again: it may have been deleted.",
                field="key",
            )
        return key

    @statement
    def _of_key(cls) -> ClauseElement:
        return cls.owned().where(cls.table().c.key == bindparam("key"))

    @statement
    def _of_keys(cls) -> ClauseElement:
        return cls.owned().where(cls.table().c.key == any_(bindparam("keys", type_=ARRAY(Text))))

    @statement
    def _list_all(cls) -> ClauseElement:
        return cls.owned().order_by(cls.table().c.key)

    @statement
    def _others(cls) -> ClauseElement:
        table = cls.table().c
        size = func.coalesce(func.sum(func.octet_length(table.value)), 0)
        return cls.owned(func.count(), size).where(table.key != bindparam("key"))

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


def parse_key(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise BadInput(
            "`key` is not a valid preference key.",
            hint=f"Use 1 to {MAX_KEY_LENGTH} letters, digits and the characters _ . : / -",
            field="key",
        )
    return key


def _to_json(value: object) -> str:
    try:
        text = msgspec.json.encode(value).decode()
    except (UnicodeEncodeError, RecursionError):
        raise BadInput(
            "`value` cannot be stored.",
            hint="Remove unpaired surrogates, or reduce the nesting.",
            field="value",
        ) from None
    if len(text) > MAX_LENGTH:
        raise TooLarge(
            f"`value` has {len(text)} characters as JSON; the maximum is {MAX_LENGTH}.",
            hint="Split it into several keys.",
            field="value",
        )
    return text


def _version_conflict() -> Conflict:
    return Conflict(
        "This preference has changed since it was read.",
        hint="Read it again, then retry with its current `version`, or 0 for a new preference.",
        field="expectedVersion",
    )

"""Idempotency keys: a change requested twice with one key is made once."""

import hashlib
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import msgspec
from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    Interval,
    LargeBinary,
    Text,
    bindparam,
    func,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql import ClauseElement

from db.errors import Conflict
from db.kit.base import Base, HasOwner, Mapped, OwnerId, mapped_column
from db.kit.repository import Repository, S
from db.kit.row_quota import RowQuota
from db.kit.text_rules import Required
from db.kit.unscoped import ExpiredRows
from db.postgres.engine import Database
from db.postgres.sessions import Session
from db.postgres.statements import change_statement, statement

KEPT = timedelta(hours=24)

MAX_KEPT_BYTES = 64 * 2**20
"""Of one owner: what they created and deleted again would else fill the database for KEPT."""

_BYTES_OF_A_ROW = 200  # and of its entries in the indexes
MAX_TEXT_GRANT = 1024 * 1024

key_rule = Required("idempotencyKey", max_length=200)

R = TypeVar("R", bound=NamedTuple)


class IdempotencyKey(HasOwner, Base):
    __tablename__ = "idempotency_keys"

    owner_id: Mapped[UUID] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    answer: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (Index(None, "created_at"),)


class NewId(NamedTuple):
    """The answer of a creation whose row is read again, as it is when the request is repeated."""

    id: UUID


class IdempotencyRow(NamedTuple):
    fingerprint: bytes
    answer: bytes


class Idempotency(Repository[IdempotencyRow, S], ExpiredRows):
    """One owner's keys, used in the transaction of the change that they protect."""

    model = IdempotencyKey
    row = IdempotencyRow
    noun = "idempotency key"

    async def run_once(
        self: "Idempotency[Session]",
        key: str,
        request: object,
        work: Callable[[], Awaitable[R]],
        *,
        answer: type[R],
    ) -> R:
        """Runs `work`, or returns the stored answer of the first request with `key`.

        Concurrent requests lock the row of the key: the second waits for the first to commit.

        Raises:
            Conflict: the key was used for another request.
            TooLarge: the owner has MAX_KEPT_BYTES of keys and answers.
        """
        key = key_rule.checked(key)
        fingerprint = _fingerprint(request)
        if await self.run(self._claim(), key=key, fingerprint=fingerprint, kept=KEPT):
            done = await work()
            encoded = msgspec.json.encode(done)
            await _quota.check(self, more=_BYTES_OF_A_ROW + len(key) + len(encoded))
            await self.run(self._store_answer(), the_key=key, answer=encoded)
            return done
        first = await self.find_answer(key, request, answer=answer)
        if first is None:
            raise _key_reused()
        return first

    async def find_answer(self, key: str, request: object, *, answer: type[R]) -> R | None:
        """Returns the stored answer of the first request with `key`, or None."""
        key = key_rule.checked(key)
        first = await self.one(self._first(), key=key, kept=KEPT)
        if first is None:
            return None
        if first.fingerprint != _fingerprint(request):
            raise _key_reused()
        return _decode(first.answer, answer)

    async def forget(self: "Idempotency[Session]", key: str) -> None:
        """Lets a request with `key` run again, because the first has failed after all."""
        await self.run(self._forget(), the_key=key_rule.checked(key))

    async def kept_bytes(self) -> int:
        return int(await self.value(self._kept_bytes(), row_bytes=_BYTES_OF_A_ROW))

    @statement
    def _kept_bytes(cls) -> ClauseElement:
        row = cls.table().c
        size = (
            bindparam("row_bytes", type_=BigInteger())
            + func.octet_length(row.key)
            + func.coalesce(func.octet_length(row.answer), 0)
        )
        return cls.owned(func.coalesce(func.sum(size), 0))

    @change_statement
    def _forget(cls) -> ClauseElement:
        mine = cls.owned_delete().where(cls.table().c.key == bindparam("the_key"))
        return mine.returning(cls.table().c.key)

    @change_statement
    def _claim(cls) -> ClauseElement:
        """Claims the key if it is new or has expired."""
        table = cls.table()
        new: dict[str, Any] = {name: bindparam(name) for name in ("owner_id", "key", "fingerprint")}
        expired = table.c.created_at < func.now() - bindparam("kept", type_=Interval())
        return (
            insert(table)
            .values(new)
            .on_conflict_do_update(
                index_elements=[table.c.owner_id, table.c.key],
                set_={"fingerprint": new["fingerprint"], "answer": None, "created_at": func.now()},
                where=expired,
            )
            .returning(table.c.key)
        )

    @change_statement
    def _store_answer(cls) -> ClauseElement:
        mine = cls.owned_update().where(cls.table().c.key == bindparam("the_key"))
        return mine.values(answer=bindparam("answer"))

    @statement
    def _first(cls) -> ClauseElement:
        table = cls.table()
        kept = table.c.created_at >= func.now() - bindparam("kept", type_=Interval())
        return cls.owned().where(table.c.key == bindparam("key"), kept)


async def _count_kept_bytes(session: Any, owner: OwnerId) -> int:
    return await Idempotency(session, owner).kept_bytes()


_quota = RowQuota(
    "bytes of idempotency keys and the answers that are kept for them",
    setting=None,
    limit=MAX_KEPT_BYTES,
    count=_count_kept_bytes,
    max_grant=MAX_TEXT_GRANT,
    hint="Wait until some are 24 hours old, or send requests without `idempotencyKey`",
)


async def run_once(
    database: Database,
    owner: OwnerId,
    work: Callable[[Session], Awaitable[R]],
    *,
    key: str | None,
    request: object,
    answer: type[R],
) -> R:
    """Runs `work` in a transaction, at most once per idempotency key; None always runs it."""

    async def once(session: Session) -> R:
        if key is None:
            return await work(session)
        keys = Idempotency(session, owner)
        return await keys.run_once(key, request, lambda: work(session), answer=answer)

    return await database.transaction(once)


def _fingerprint(request: object) -> bytes:
    return hashlib.sha256(msgspec.json.encode(request)).digest()


def _decode(answer: bytes, kind: type[R]) -> R:
    """During an update the other release may have written a row with more, or fewer, fields."""
    values = msgspec.json.decode(answer, type=list[msgspec.Raw])[: len(kind._fields)]
    return msgspec.json.decode(msgspec.json.encode(values), type=kind)


def _key_reused() -> Conflict:
    return Conflict(
        "This idempotency key was used for another request.",
        hint="Use a new key for each request; to retry, send the same input.",
        field="idempotencyKey",
    )


async def sweep(session: Session) -> int:
    """Deletes a batch of expired keys and returns their number."""
    return len(await session.rows(Idempotency.expired(), kept=KEPT))

"""Attempt counters, shared by all replicas."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Interval,
    LargeBinary,
    any_,
    bindparam,
    case,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql import ClauseElement

from db.kit.base import Base, Mapped, mapped_column
from db.kit.unscoped import delete_batch
from db.postgres.sessions import Session
from db.postgres.statements import change_statement

_HIGHEST = 2**31 - 1
"""The maximum of the column: amounts above a limit are counted too."""


class RateLimit(Base):
    """A counter. Its key is a hash, so the table reveals no addresses."""

    __tablename__ = "rate_limits"

    key: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    count: Mapped[int]
    resets_at: Mapped[datetime]


class Limit(NamedTuple):
    """At most `most` attempts in a window that starts with the first."""

    most: int
    within: timedelta


class Attempts:
    def __init__(self, session: Session) -> None:
        self._session = session

    async def count(self, limits: Mapping[bytes, Limit]) -> float:
        """Counts one attempt for each key; returns the seconds to wait, 0 within the limits."""
        keys = sorted(limits)  # a fixed lock order prevents deadlocks
        within = [limits[key].within for key in keys]
        counted = await self._session.rows(self._count(), keys=keys, within=within, amount=1)
        return max(left_s if count > limits[key].most else 0 for key, count, left_s in counted)

    async def spend(self, key: bytes, limit: Limit, amount: int) -> tuple[int, float]:
        """Adds an amount to a counter; returns its new count and the seconds until it restarts."""
        [(_, count, left_s)] = await self._session.rows(
            self._count(), keys=[key], within=[limit.within], amount=amount
        )
        return count, left_s

    async def refund(self, limits: Mapping[bytes, Limit]) -> None:
        """Removes a successful attempt from the counters."""
        await self._session.rows(self._refund(), keys=sorted(limits))

    async def sweep(self) -> int:
        return len(await self._session.rows(self._sweep()))

    @change_statement
    def _count(cls) -> ClauseElement:
        given = (
            func.unnest(
                bindparam("keys", type_=ARRAY(LargeBinary)),
                bindparam("within", type_=ARRAY(Interval)),
            )
            .table_valued("key", "within", name="given")
            .render_derived()
        )
        amount = bindparam("amount", type_=BigInteger)
        source = select(given.c.key, amount, func.now() + given.c.within).order_by(given.c.key)
        new = insert(RateLimit).from_select(["key", "count", "resets_at"], source)
        over = _LIMITS.resets_at <= func.now()
        values: dict[str, Any] = {
            "count": case(
                (over, new.excluded.count),
                else_=func.least(_LIMITS.count + amount, _HIGHEST),
            ),
            "resets_at": case((over, new.excluded.resets_at), else_=_LIMITS.resets_at),
        }
        counted = new.on_conflict_do_update(index_elements=[_LIMITS.key], set_=values)
        left = func.date_part("epoch", _LIMITS.resets_at - func.now())
        return counted.returning(_LIMITS.key, _LIMITS.count, left)

    @change_statement
    def _refund(cls) -> ClauseElement:
        keys = any_(bindparam("keys", type_=ARRAY(LargeBinary)))
        return update(RateLimit).where(_LIMITS.key == keys).values(count=_LIMITS.count - 1)

    @change_statement
    def _sweep(cls) -> ClauseElement:
        return delete_batch(RateLimit.__table__, _LIMITS.resets_at <= func.now(), _LIMITS.key)


_LIMITS = RateLimit.__table__.c

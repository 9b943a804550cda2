"""Sessions: what runs statements for repositories, on a lease or gathered with others."""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self, TypeAlias

from db.concurrency.byte_budget import ByteBudget
from db.concurrency.fair_slots import Share
from db.postgres.gathering.calls import Rows
from db.postgres.gathering.gatherer import Gatherer
from db.postgres.leases import Lease, Observer, fetch_on
from db.postgres.monitoring.figures import DatabaseFigures, current_count
from db.postgres.statements import Changes, Reads, Statement

TextBudget: TypeAlias = Callable[[], ByteBudget]


class ReadSession(Reads):
    """Runs statements on one lease. Lives for one batch of reads or one transaction."""

    __slots__ = ("_figures", "_lease", "_observe")

    text_budget: TextBudget | None = None
    """Makes or finds what its operation may read of long texts; None for no limit."""

    def __init__(self, lease: Lease, observe: Observer | None, figures: DatabaseFigures) -> None:
        self._lease = lease
        self._observe = observe
        self._figures = figures

    def rows(self, statement: Statement[Self], /, **values: Any) -> Awaitable[Sequence[Any]]:
        """The rows as tuples, in the order of the statement's columns."""
        rows = self._fetch(statement, statement.arguments(values))
        return _decode(statement, rows) if statement.decoders else rows

    async def row(self, statement: Statement[Self], /, **values: Any) -> Any | None:
        found = await self.rows(statement, **values)
        return found[0] if found else None

    async def value(self, statement: Statement[Self], /, **values: Any) -> Any:
        """The first column of the first row, or None."""
        found = await self.row(statement, **values)
        return None if found is None else found[0]

    def _fetch(self, statement: Statement[Any], arguments: Sequence[Any]) -> Awaitable[Rows]:
        _count_statement()
        return self._fetch_in_transaction(statement.sql, arguments)

    async def _fetch_in_transaction(self, sql: str, arguments: Sequence[Any]) -> Rows:
        began = time.perf_counter()
        try:
            return await fetch_on(self._lease, sql, arguments, self._observe)
        finally:
            self._figures.add(self._figures.in_transactions, sql, time.perf_counter() - began)


class Session(ReadSession, Changes):
    """A session that also runs changes; mypy refuses them on a ReadSession."""

    __slots__ = ()


class SingleReads(ReadSession):
    """Runs single statements, each in its own transaction, gathered with those of other callers."""

    __slots__ = ("_gatherer", "_share", "text_budget")

    def __init__(
        self, gatherer: Gatherer, share: Share | None, text_budget: TextBudget | None
    ) -> None:
        self._gatherer = gatherer
        self._share = share
        self.text_budget = text_budget

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Each statement has released its connection."""

    def _fetch(self, statement: Statement[Any], arguments: Sequence[Any]) -> Awaitable[Rows]:
        _count_statement()
        if statement.changes:
            raise RuntimeError(f"a read session retries, so it runs no changes: {statement.sql}")
        share, gatherer = self._share, self._gatherer
        if (
            share is None
            or gatherer.gathers(statement)
            or (share.is_of_sole_user and gatherer.is_full(statement))  # it waits there: no turns
        ):
            return gatherer.fetch(statement, arguments)
        return self._fetch_in(share, statement, arguments)

    async def _fetch_in(
        self, share: Share, statement: Statement[Any], arguments: Sequence[Any]
    ) -> Rows:
        async with share:
            return await self._gatherer.fetch(statement, arguments)


class WriteSession(Session):
    """Runs one change, and reads before and after it. Refuses a second change."""

    __slots__ = ("_changed", "_gatherer")

    def __init__(self, gatherer: Gatherer) -> None:
        self._gatherer = gatherer
        self._changed = False

    def _fetch(self, statement: Statement[Any], arguments: Sequence[Any]) -> Awaitable[Rows]:
        _count_statement()
        if statement.changes:
            if self._changed:
                raise RuntimeError(f"a second change needs a transaction: {statement.sql}")
            self._changed = True
        return self._gatherer.fetch(statement, arguments)


def _count_statement() -> None:
    if (count := current_count.get()) is not None:
        count.value += 1


async def _decode(statement: Statement[Any], rows: Awaitable[Rows]) -> Rows:
    return statement.decode(await rows)

"""Logs slow statements on Howdah's own database, with their plans if the operator wants them.

Neither has a value: the SQL has placeholders, and the plan is the generic one, which has them too.
"""

import asyncio
import itertools
import logging
import re

from db.errors import HowdahError
from db.postgres.leases import LeaseSource
from db.postgres.monitoring.figures import DatabaseFigures

log = logging.getLogger(__name__)

MAX_SQL_CHARACTERS = 4_000
PLAN_EVERY_S = 600.0
"""A statement is explained at most once in this time."""
MAX_EXPLAINED = 200
EXPLAIN_S = 5

_PLACEHOLDER = re.compile(r"\$(\d+)")
_EXPLAINABLE = re.compile(r"\s*(select|insert|update|delete|with|values)\b", re.IGNORECASE)


class SlowStatements:
    """Reports the slow statements of one pool."""

    def __init__(self, source: LeaseSource, *, plans: bool) -> None:
        self._source = source
        self._plans = plans
        self._explained: dict[str, float] = {}
        """When each statement was explained, in the order of these times."""
        self._explaining: asyncio.Task[None] | None = None
        self._numbers = itertools.count(1)

    @classmethod
    def watch(
        cls, figures: DatabaseFigures, source: LeaseSource, *, limit_ms: int, plans: bool
    ) -> None:
        """Report the statements that take `limit_ms` or longer; 0 reports none."""
        if limit_ms:
            figures.slow_s = limit_ms / 1000
            figures.report_slow = cls(source, plans=plans).report

    def report(self, sql: str, seconds: float) -> None:
        log.warning("slow statement: %d ms: %s", seconds * 1000, _shortened(sql))
        if self._plans and self._is_due(sql):
            self._explaining = asyncio.create_task(self._explain(sql), name="slow statements")

    def _is_due(self, sql: str) -> bool:
        """One at a time: a plan must not add to what makes statements slow."""
        if not _EXPLAINABLE.match(sql) or (self._explaining and not self._explaining.done()):
            return False
        now = asyncio.get_running_loop().time()
        if now - self._explained.pop(sql, -PLAN_EVERY_S) < PLAN_EVERY_S:
            return False
        if len(self._explained) >= MAX_EXPLAINED:
            del self._explained[next(iter(self._explained))]
        self._explained[sql] = now
        return True

    async def _explain(self, sql: str) -> None:
        try:
            plan = await self._generic_plan(sql)
        except (HowdahError, OSError) as error:
            log.warning("cannot explain a slow statement: %s", error)
        except Exception:  # any error: the statement itself has ended well
            log.exception("cannot explain a slow statement: %s", _shortened(sql))
        else:
            log.warning("plan of the slow statement: %s\n%s", _shortened(sql), plan)

    async def _generic_plan(self, sql: str) -> str:
        """The plan for any values. EXPLAIN (GENERIC_PLAN) exists since PostgreSQL 16 only."""
        name = f"howdah_slow_{next(self._numbers)}"
        count = max(map(int, _PLACEHOLDER.findall(sql)), default=0)
        values = f"({', '.join(['NULL'] * count)})" if count else ""
        lease = await self._source.acquire()
        broken = True
        try:
            async with asyncio.timeout(EXPLAIN_S), lease.begin():
                await lease.driver.execute("SET LOCAL plan_cache_mode = force_generic_plan")
                await lease.driver.execute(f"PREPARE {name} AS {sql}")
                lines = await lease.driver.fetch(f"EXPLAIN EXECUTE {name}{values}")
                await lease.driver.execute(f"DEALLOCATE {name}")
            broken = False
            return "\n".join(line[0] for line in lines)
        finally:
            if broken:
                lease.driver.terminate()  # it may keep the prepared statement
            self._source.release(lease)


def _shortened(sql: str) -> str:
    text = " ".join(sql.split())
    return text if len(text) <= MAX_SQL_CHARACTERS else f"{text[:MAX_SQL_CHARACTERS]} …"

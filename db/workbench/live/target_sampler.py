"""Samples the backends of one owner's runs on one target, with one side connection."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import NamedTuple

import msgspec
import psycopg

from db.concurrency.waiting import start_background, wait_up_to
from db.errors import HowdahError
from db.runs import Backend
from db.workbench.connections.libpq import Connection, abort_after, command
from db.workbench.execution.reading import protocol
from db.workbench.live import sample_sql
from db.workbench.live.sample_sql import Sampled, parse_sampled
from db.workbench.live.values import NOTHING, LiveSample, Waiting

log = logging.getLogger(__name__)

LINGER_S = 5.0
"""The side connection stays open for this time after the last sample."""
RETRY_S = 5.0
"""After a failure, the target is left alone for this time."""
QUERY_S = 2.0
WAIT_S = 2.0
"""A caller waits this long for its sample, which may have to connect first."""

Connect = Callable[[], AbstractAsyncContextManager[Connection]]


class _Seen(NamedTuple):
    """The first time at which a backend was seen to wait for its present event."""

    event: tuple[str | None, str | None]
    since: datetime
    last_at: float


class TargetSampler:
    """Connects with the first sample, and closes with the last. It is not started again."""

    def __init__(self, connect: Connect, on_closed: Callable[[], None]) -> None:
        self._connect = connect
        self._on_closed = on_closed
        self._wanted: dict[Backend, asyncio.Future[LiveSample]] = {}
        self._woken = asyncio.Event()
        self._has_failed = False
        self.is_closed = False
        """A closed sampler takes no more requests."""
        self._seen: dict[Backend, _Seen] = {}
        self._task = start_background(self._run(), name="live: sampler")

    async def sample(self, backend: Backend) -> LiveSample:
        """Requests during a query are answered together by the next one. Raises no error."""
        if self._has_failed:
            return NOTHING
        if backend not in self._wanted:
            self._wanted[backend] = asyncio.get_running_loop().create_future()
            self._woken.set()
        return await wait_up_to(WAIT_S, asyncio.shield(self._wanted[backend])) or NOTHING

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        try:
            async with self._connect() as connection:
                await self._serve(connection)
        except (HowdahError, psycopg.Error, msgspec.MsgspecError, OSError) as error:
            log.info("cannot sample running statements, will retry: %s", error)
            self._has_failed = True
            self._settle({})
            await asyncio.sleep(RETRY_S)
        finally:
            self._stop_accepting()
            self._settle({})

    async def _serve(self, connection: Connection) -> None:
        connection.takes_large_rows = False  # a hostile server gets no memory for its answers
        with abort_after(connection, QUERY_S):
            await command(connection, sample_sql.SETUP)
            names = await protocol.query_catalogue(
                connection, sample_sql.FEATURES, tuple[str], max_rows=sample_sql.FEATURE_COUNT
            )
        features = {name for (name,) in names}
        while await self._is_wanted():
            backends = list(self._wanted)
            query = sample_sql.sample_sql(features, {backend.pid for backend in backends})
            with abort_after(connection, QUERY_S):
                rows = await protocol.query_catalogue(
                    connection, query, tuple[str], max_rows=len(backends)
                )
            found = (parse_sampled(text) for (text,) in rows)
            self._settle(self._samples(found), backends)

    async def _is_wanted(self) -> bool:
        """Waits for a request; False if none comes for some time."""
        self._woken.clear()
        if not self._wanted:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER_S):
                    await self._woken.wait()
        if not self._wanted:
            self._stop_accepting()
        return not self.is_closed

    def _stop_accepting(self) -> None:
        self.is_closed = True
        self._on_closed()

    def _samples(self, found: Iterable[Sampled]) -> dict[Backend, LiveSample]:
        now = asyncio.get_running_loop().time()
        self._seen = {
            backend: seen for backend, seen in self._seen.items() if now - seen.last_at < LINGER_S
        }
        return {
            row.backend: LiveSample(row.parsed_progress(), self._waiting(row, now)) for row in found
        }

    def _waiting(self, row: Sampled, now: float) -> Waiting | None:
        event = row.event_type, row.event
        seen = self._seen.get(row.backend)
        since = seen.since if seen is not None and seen.event == event else row.now
        self._seen[row.backend] = _Seen(event, since, now)
        if row.event_type is None or row.event is None:
            return None
        return Waiting(row.event_type, row.event, row.since or since, row.parsed_blockers())

    def _settle(
        self, samples: Mapping[Backend, LiveSample], backends: Iterable[Backend] | None = None
    ) -> None:
        """Answers the requests for `backends`, or all of them."""
        for backend in list(self._wanted) if backends is None else backends:
            future = self._wanted.pop(backend)
            if not future.done():
                future.set_result(samples.get(backend, NOTHING))

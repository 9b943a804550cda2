"""Metrics of this process and of the other workers. They contain no data of users.

Any worker answers a request for metrics with those of all workers (graph.server.exposition).
"""

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import NoReturn

import msgspec

from db.services import Services
from graph.operations import Plans
from graph.server.exposition import Durations, Snapshot, page
from graph.server.metrics_board import Board
from graph.transport.shutdown import Shutdown

PUBLISH_INTERVAL_S = 1.0

_decode = msgspec.json.Decoder(Snapshot).decode
_encode = msgspec.json.Encoder().encode


class Metrics:
    """Counts operations as they end, and reads all other values on request.

    With a board, a worker continues the counters of its predecessor, so that sums never fall.
    """

    def __init__(
        self, services: Services, plans: Plans, shutdown: Shutdown, board: Board | None = None
    ) -> None:
        self._services = services
        self._plans = plans
        self._shutdown = shutdown
        self._board = board
        self._durations: defaultdict[tuple[str, str], Durations] = defaultdict(Durations)
        self._counted_before: dict[str, float] = {}
        if board is not None and (published := board.read()):
            before = _decode(published)
            self._counted_before = before.counters
            self._durations.update(
                {(kind, outcome): times for kind, outcome, times in before.times}
            )

    def count(self, kind: str, outcome: str, seconds: float) -> None:
        self._durations[kind, outcome].add(seconds)

    def page(self) -> tuple[bytes, str]:
        """The page for Prometheus, and its media type."""
        return page(list(self._snapshots()))

    async def keep_publishing(self) -> NoReturn:
        """Publish the snapshot of this process periodically."""
        while True:
            self._publish()
            await asyncio.sleep(PUBLISH_INTERVAL_S)

    def _snapshots(self) -> Iterator[Snapshot]:
        yield self._snapshot()
        if self._board is not None:
            self._publish()  # the worker that is asked next must not report less
            yield from map(_decode, self._board.read_others())

    def _publish(self) -> None:
        if self._board is not None:
            self._board.write(_encode(self._snapshot()))

    def _snapshot(self) -> Snapshot:
        database, events, plans = self._services.database, self._services.events, self._plans
        counters = {
            "plan_hits": plans.hits,
            "plan_misses": plans.misses,
            "cpu_seconds": time.process_time(),
        }
        before = self._counted_before
        return Snapshot(
            pid=os.getpid(),
            times=[(*labels, times) for labels, times in self._durations.items()],
            counters={name: value + before.get(name, 0) for name, value in counters.items()},
            gauges={
                "database_connections_in_use": database.in_use,
                "database_waiting": database.waiting,
                "events_up": float(events.is_up),
                "event_readers": events.readers,
                "streams_open": self._shutdown.streams,
                "plans_kept": plans.count,
            },
        )

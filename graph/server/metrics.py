"""What is counted, in this process and by its neighbours. Nothing of users.

Of several workers any one may be asked: it answers for all of them (graph.server.exposition).
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
from graph.server.exposition import Reading, Times, page
from graph.server.metrics_board import Board
from graph.transport.shutdown import Shutdown

TELL_S = 1.0

_decode = msgspec.json.Decoder(Reading).decode
_encode = msgspec.json.Encoder().encode


class Metrics:
    """Counts operations as they end; looks at everything else when asked.

    With a board it goes on where a worker that had its page has ended: a sum never falls.
    """

    def __init__(
        self, services: Services, plans: Plans, shutdown: Shutdown, board: Board | None = None
    ) -> None:
        self._services = services
        self._plans = plans
        self._shutdown = shutdown
        self._board = board
        self._times: defaultdict[tuple[str, str], Times] = defaultdict(Times)
        self._counted_before: dict[str, float] = {}
        if board is not None and (told := board.told()):
            before = _decode(told)
            self._counted_before = before.counters
            self._times.update({(kind, outcome): times for kind, outcome, times in before.times})

    def count(self, kind: str, outcome: str, seconds: float) -> None:
        self._times[kind, outcome].add(seconds)

    def page(self) -> tuple[bytes, str]:
        """As Prometheus reads it, and the media type of that."""
        return page(list(self._readings()))

    async def keep_telling(self) -> NoReturn:
        """Put our numbers on the board, again and again, for whichever worker is asked."""
        while True:
            self._tell()
            await asyncio.sleep(TELL_S)

    def _readings(self) -> Iterator[Reading]:
        yield self._reading()
        if self._board is not None:
            self._tell()  # the next to be asked, at once, may not know less
            yield from map(_decode, self._board.others())

    def _tell(self) -> None:
        if self._board is not None:
            self._board.tell(_encode(self._reading()))

    def _reading(self) -> Reading:
        database, events, plans = self._services.database, self._services.events, self._plans
        counters = {
            "plan_hits": plans.hits,
            "plan_misses": plans.misses,
            "cpu_seconds": time.process_time(),
        }
        before = self._counted_before
        return Reading(
            pid=os.getpid(),
            times=[(*labels, times) for labels, times in self._times.items()],
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

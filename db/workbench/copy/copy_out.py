"""The data of COPY ... TO STDOUT, as rows of one column."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from psycopg.abc import PQGen
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import WAIT_R

from db.runs import Column
from db.workbench.connections.libpq import Connection
from db.workbench.copy.interfaces import Throttle
from db.workbench.results.copied_bytes import BYTES, TEXT, to_bytes_row, to_text_row
from db.workbench.results.value_conversion import Row


class CopyOutput:
    """Messages of the server, each a line of text or CSV, or a tuple of the binary format."""

    def __init__(self, connection: Connection, result: PGresult, *, is_utf8: bool) -> None:
        self._connection = connection
        is_text = is_utf8 and result.binary_tuples == 0
        self.column = TEXT if is_text else BYTES
        self._to_row = to_text_row if is_text else to_bytes_row

    @property
    def columns(self) -> list[Column]:
        return [self.column]

    def rows(self, messages: Sequence[bytes]) -> list[Row]:
        return [self._to_row(message) for message in messages]

    async def messages(
        self, throttle: Throttle, most: Callable[[], int]
    ) -> AsyncIterator[list[bytes]]:
        """Yields the messages that libpq has buffered, at most `most()` together."""
        pgconn = self._connection.pgconn
        found: list[bytes] = []
        while True:
            await throttle.yield_to_others()
            size, data = pgconn.get_copy_data(1)
            if not size:
                if found:
                    yield found
                    found = []
                size, data = await self._connection.wait(_next_message(pgconn))
            if size < 0:
                break
            found.append(bytes(data))
            if len(found) >= most() or throttle.is_over:
                yield found
                found = []
        if found:
            yield found


def _next_message(pgconn: PGconn) -> PQGen[tuple[int, Any]]:
    """The size is -1 after the last message: the result of the statement follows."""
    while True:
        size, data = pgconn.get_copy_data(1)
        if size:
            return size, data
        while not (yield WAIT_R):
            pass
        pgconn.consume_input()

"""A connection whose libpq receives only as many bytes as the read budget allows.

libpq gives no access to its buffer, and with TLS only libpq sees the messages. So its socket is
replaced by one end of a socket pair, and the bytes from the server, encrypted or not, are passed on
piece by piece. What was passed on since the last result is an upper bound of what libpq buffers
(decision 0028).
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Generator
from contextvars import ContextVar
from functools import partial
from typing import Any, Generic, Self, TypeVar
from weakref import WeakMethod

import psycopg
from psycopg import waiting
from psycopg.abc import PQGen, PQGenConn
from psycopg.errors import Diagnostic
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGresult
from psycopg.pq.misc import PGnotify
from psycopg.waiting import READY_R, READY_W, WAIT_R, WAIT_W

from db.runs import Backend
from db.workbench.connections.bounds.login_guard import cancel_guarded, connect_guarded
from db.workbench.connections.bounds.read_budget import (
    FREE_BYTES,
    SLOT_S,
    LargeRowSlot,
    RowTooLarge,
    TooManySettings,
)
from db.workbench.connections.bounds.read_turns import TURN_S
from db.workbench.connections.bounds.socket_gate import Announce, SocketGate, announced, gated

RV = TypeVar("RV")
announcing: ContextVar[Announce | None] = ContextVar("announcing", default=None)
TURN_BYTES = 1024 * 1024
"""Read at most in one turn of the event loop."""
INTERVAL_S = 0.1
CANCEL_S = 5.0
LOOKUP_S = 8e-6
"""Longest search for a setting of the server; PostgreSQL reports some 20, which takes 0.2 µs."""
HEADER_BYTES = 11
"""Of a notification, besides its channel and its payload."""
LARGE_BUFFER_BYTES = 4 * 1024 * 1024
MAX_ENCODING_BYTES = 20
"""The longest name of PostgreSQL's has 14. psycopg keeps each that it looks up."""


class _Passage(Generic[RV]):
    """A generator of psycopg that waits for libpq's socket, driven by that of the server."""

    def __init__(
        self, gate: SocketGate, steps: PQGen[RV], discard_notifications: Callable[[], None]
    ) -> None:
        self.gate = gate
        self._discard_notifications = discard_notifications
        self.value: RV
        self.is_done = False
        self._steps = steps
        self._wanted: int | None = None

    def advance(self, until: int) -> Generator[waiting.Wait, waiting.Ready | int, None]:
        """Ends when `is_done`, when the gate has passed on `until` bytes, or after a turn."""
        gate = self.gate
        gate.flush()
        ends_at = time.monotonic() + TURN_S
        while not self.is_done and gate.passed < until and time.monotonic() < ends_at:
            ready = self._ready()
            if ready or self._wanted is None:
                began = time.monotonic()
                self._step(ready)
                self._discard_notifications()
                gate.adapt_piece(time.monotonic() - began)
                gate.flush()
            else:
                wanted = (self._wanted & WAIT_R) | (WAIT_W if gate.has_outgoing else 0)
                yield waiting.Wait(wanted)
                ends_at = time.monotonic() + TURN_S
                gate.flush()

    def _ready(self) -> int:
        wanted = self._wanted or 0
        ready = READY_R if wanted & WAIT_R and self.gate.fill() else 0
        return ready | (READY_W if wanted & WAIT_W and not self.gate.has_outgoing else 0)

    def _step(self, ready: int) -> None:
        try:
            if self._wanted is None:
                self._wanted = next(self._steps)
            else:
                self._wanted = self._steps.send(ready)
        except StopIteration as done:
            self.value = done.value
            self.is_done = True


class BoundedConnection(psycopg.AsyncConnection[tuple[Any, ...]]):
    """Every wait for the server passes through the gate and its limits."""

    gate: SocketGate | None = None
    slot: LargeRowSlot
    backend: Backend | None = None
    """The server's process of this connection, once a run has queried it."""
    is_direct = False
    """Whether the server itself answers, and no pooler: known with `backend`."""
    kept_timeout_ms: int | None = None
    """The `statement_timeout` between runs. None if the server's default, or that of a pooler."""
    arrived = 0
    """Bytes that arrived during the last wait: an upper bound of the size of its result."""
    takes_large_rows = False
    """Set once the server has answered the first queries, whose results are small."""
    has_large_buffer = False
    """libpq keeps its buffer until the connection is closed."""
    on_notification: Callable[[PGnotify], None] | None = None
    """Called with each notification; without it they are discarded."""
    _noticed = 0
    _notified = 0
    """Bytes of notifications, which leave libpq's buffer at once, since the last wait."""
    _idle_from = 0
    """What had arrived when the last wait ended."""
    _is_cut = False
    awaits_slot = False
    _slot_since = 0.0

    announce: Announce | None = None

    @classmethod
    def _connect_gen(cls, conninfo: str = "") -> PQGenConn[Self]:
        announce = announcing.get()
        pgconn, gate = yield from gated(announced(connect_guarded(conninfo), announce))
        connection = cls(pgconn)
        connection.announce = announce
        connection.gate = gate
        return connection

    def _cancel_gen(self) -> PQGenConn[None]:
        return announced(cancel_guarded(self.pgconn, super()._cancel_gen), self.announce)

    def use_slot(self, slot: LargeRowSlot) -> None:
        """To be called once, before the first statement."""
        self.slot = slot
        self.add_notice_handler(self._count_notice)
        self.pgconn.notice_handler = partial(_pass_on, WeakMethod(self._take_notice))

    def finish(self) -> None:
        """Closes the connection at once."""
        self.pgconn.finish()
        if self.gate is not None:
            with contextlib.suppress(OSError):
                self.gate.flush()  # the Terminate message of libpq
            self.gate.close()

    async def close(self) -> None:
        await super().close()
        self.finish()

    def fileno(self) -> int:
        """The socket to the server."""
        if self.gate is None or self.gate.is_closed:
            return super().fileno()
        return self.gate.server.fileno()

    async def wait(
        self,
        gen: PQGen[RV],
        interval: float = INTERVAL_S,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature of psycopg
    ) -> RV:
        if self.gate is None:
            return await super().wait(gen, interval, timeout)
        self.slot.release()
        self._require_uncut()
        passage = _Passage(self.gate, gen, self._discard_notifications)
        try:
            return await self._drive(passage)
        except asyncio.CancelledError:
            await self._end_statement(passage)
            raise

    def poll_input(self) -> None:
        """Reads what an idle connection has received, so that its end is noticed.

        Raises:
            psycopg.Error: The server has closed the connection, or sends too much.
        """
        for _ in range(2):  # the server's last message, then the end
            if self.closed:
                raise psycopg.OperationalError("the connection is closed")
            if self.gate is None or self.gate.fill():
                began = time.monotonic()
                self.pgconn.consume_input()
                self._discard_notifications()
                if self.gate is not None:
                    self.gate.adapt_piece(time.monotonic() - began)
        self._require_few_settings()
        if self.gate is None:
            return
        taken = self._noticed + self._notified
        if self.gate.passed - self._idle_from - taken > FREE_BYTES:
            self.finish()
            raise RowTooLarge(FREE_BYTES)

    async def _drive(self, passage: _Passage[RV]) -> RV:
        gate = passage.gate
        began, self._noticed = gate.passed, 0
        try:
            while True:
                until = gate.passed + TURN_BYTES
                await waiting.wait_async(passage.advance(until), gate.server.fileno(), INTERVAL_S)
                self._require_uncut()
                self._require_few_settings()
                if passage.is_done:
                    self._read_rest()
                    return passage.value
                await self._allow(gate.passed - began - self._noticed)
                if gate.passed < until:  # ended by its time
                    await self.slot.turns.wait()
                else:
                    await asyncio.sleep(0)
        finally:
            self.arrived = gate.passed - began
            self._idle_from, self._noticed, self._notified = gate.passed, 0, 0

    def _read_rest(self) -> None:
        """Lets libpq read all of the piece: it takes 16 KiB at first, and each wait costs 15 µs.

        What it has read counts as passed already. The next wait reports an error.
        """
        with contextlib.suppress(psycopg.OperationalError):
            while self.gate is not None and self.gate.holds_piece:
                self.pgconn.consume_input()

    def cut(self) -> None:
        """Ends the wait for the server, which may have sent megabytes that nobody has read."""
        self._is_cut = True
        if self.gate is not None and not self.gate.is_closed:
            with contextlib.suppress(OSError):
                self.gate.server.shutdown(socket.SHUT_RDWR)

    def _require_uncut(self) -> None:
        if self._is_cut:
            self.slot.release()
            self.finish()
            raise psycopg.OperationalError("the connection was cut")

    def _require_few_settings(self) -> None:
        """Refuses a long list of settings: libpq searches all of it for each one that arrives.

        libpq tells neither their number nor their names, and TLS hides the messages. So the search
        itself is timed; the fastest of several shows the length of the list also on a busy machine.
        """
        encoding = self.pgconn.parameter_status(b"client_encoding") or b""
        for _ in range(5 if len(encoding) <= MAX_ENCODING_BYTES else 0):
            began = time.perf_counter()
            self.pgconn.parameter_status(b"no setting has this name")
            if time.perf_counter() - began < LOOKUP_S:
                return
        self.slot.release()
        self.finish()
        raise TooManySettings("the server reported too many settings")

    async def _allow(self, size: int) -> None:
        """Returns when the connection may buffer more than `size`."""
        now = asyncio.get_running_loop().time()
        most = self.slot.row_bytes if self.takes_large_rows else FREE_BYTES
        if size > most or (self.slot.is_held and now - self._slot_since > SLOT_S):
            self.slot.release()
            self.finish()
            raise RowTooLarge(most)
        if size > FREE_BYTES and not self.slot.is_held:
            self.awaits_slot = True
            await self.slot.acquire()
            self.awaits_slot = False
            self._slot_since = asyncio.get_running_loop().time()
        self.has_large_buffer |= size > LARGE_BUFFER_BYTES

    def _discard_notifications(self) -> None:
        """Else libpq collects them until the result. Part of a turn, because it takes as long."""
        while (notification := self.pgconn.notifies()) is not None:
            self._notified += len(notification.relname) + len(notification.extra) + HEADER_BYTES
            if self.on_notification is not None:
                self.on_notification(notification)

    async def _end_statement(self, passage: _Passage[Any]) -> None:
        """Cancels the statement of a cancelled task, as psycopg does, or closes the connection."""
        if self.closed or self.pgconn.transaction_status != TransactionStatus.ACTIVE:
            return
        if self.awaits_slot or self._is_cut:
            self.finish()
            return
        try:
            async with asyncio.timeout(CANCEL_S):
                await self._try_cancel(timeout=CANCEL_S)
                await self._drive(passage)
        except psycopg.errors.QueryCanceled:
            pass
        except BaseException as error:
            self.finish()
            if not isinstance(error, Exception):
                raise

    def _take_notice(self, result: PGresult) -> None:
        """As psycopg does, but it looks up the encoding, which the server names.

        It logs each notice in an unknown one, and keeps each spelling of the others for ever.
        """
        notice = Diagnostic(result)
        for handle in self._notice_handlers:
            handle(notice)

    def _count_notice(self, notice: Diagnostic) -> None:
        """A notice leaves libpq's buffer at once, before the result that it precedes."""
        texts = (notice.message_primary, notice.message_detail, notice.message_hint, notice.context)
        self._noticed += sum(len(text or "") for text in texts)


def _pass_on(take: "WeakMethod[Callable[[PGresult], None]]", result: PGresult) -> None:
    """The connection refers to its handler, which therefore must not refer to it."""
    if (method := take()) is not None:
        method(result)

"""A connection whose libpq receives only as many bytes as the read budget allows.

libpq gives no access to its buffer, and with TLS only libpq sees the messages. So its socket is
replaced by one end of a socket pair, and the bytes from the server, encrypted or not, are passed on
piece by piece. What was passed on since the last result is an upper bound of what libpq buffers
(decision 0028).
"""

import asyncio
import contextlib
import fcntl
import os
import socket
import struct
import termios
import time
from collections.abc import Callable, Generator
from contextvars import ContextVar
from typing import Any, Generic, Self, TypeAlias, TypeVar

import psycopg
from psycopg import waiting
from psycopg.abc import PQGen, PQGenConn
from psycopg.errors import Diagnostic
from psycopg.pq import TransactionStatus
from psycopg.waiting import READY_R, READY_W, WAIT_R, WAIT_W

from db.workbench.connections.read_budget import (
    FREE_BYTES,
    SLOT_S,
    LargeRowSlot,
    RowTooLarge,
    TooManySettings,
)

RV = TypeVar("RV")
Announce: TypeAlias = Callable[[int], None]
"""Called with the local port of each socket that libpq opens: for the tunnel that admits it."""
announcing: ContextVar[Announce | None] = ContextVar("announcing", default=None)
PIECE_BYTES = 64 * 1024
TURN_BYTES = 1024 * 1024
"""Read at most in one turn of the event loop."""
TURN_S = 0.01
"""A turn ends after this time too: each notice of a few bytes takes 20 microseconds."""
INTERVAL_S = 0.1
CANCEL_S = 5.0
START_BYTES = 64 * 1024
"""Read at most from a socket until the connection is ready: certificates, settings, notices."""
LOOKUP_S = 20e-6
"""Longest search for a setting of the server; PostgreSQL reports some 20, which takes 0.2."""
LARGE_BUFFER_BYTES = 4 * 1024 * 1024


class SocketGate:
    """The socket pair between the server and libpq, and the bytes that are on their way."""

    def __init__(self, descriptor: int) -> None:
        """Takes over the socket of libpq, which keeps the number of its descriptor."""
        self.server = socket.socket(fileno=os.dup(descriptor))
        self._inner, outer = socket.socketpair()
        with outer:
            outer.setblocking(False)
            os.dup2(outer.fileno(), descriptor, inheritable=False)
        self.server.setblocking(False)
        self._inner.setblocking(False)
        self._descriptor = descriptor
        self._piece = memoryview(bytearray(PIECE_BYTES))
        self._outgoing = b""
        self.passed = 0
        """Bytes from the server that were passed to libpq."""
        self._ended = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._inner, self._on_inner)

    @property
    def is_closed(self) -> bool:
        return self.server.fileno() < 0

    @property
    def has_outgoing(self) -> bool:
        return bool(self._outgoing)

    def fill(self) -> bool:
        """Passes one piece to libpq if it has read the one before; returns whether it can read."""
        if self._ended or self._unread():
            return True
        try:
            size = self.server.recv_into(self._piece)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            size = 0
        if not size:
            self._ended = True
            with contextlib.suppress(OSError):
                self._inner.shutdown(socket.SHUT_WR)
            return True
        self.passed += size
        self._inner.send(self._piece[:size])  # fits: the pair is empty, and its buffer larger
        return True

    def flush(self) -> None:
        """Passes what libpq has written to the server, as far as its socket accepts it."""
        with contextlib.suppress(BlockingIOError, InterruptedError):
            while not self.is_closed:
                if not self._outgoing:
                    self._outgoing = self._inner.recv(PIECE_BYTES)
                if not self._outgoing:
                    self.close()  # libpq has closed its end
                    return
                self._outgoing = self._outgoing[self._send() :]

    def _send(self) -> int:
        try:
            return self.server.send(self._outgoing)
        except (BlockingIOError, InterruptedError):
            raise
        except OSError:  # closed by the server, which `fill` reports
            return len(self._outgoing)

    def close(self) -> None:
        if not self.is_closed:
            self._loop.remove_reader(self._inner)
            self._inner.close()
            self.server.close()

    def _unread(self) -> int:
        found: int = struct.unpack(
            "i", fcntl.ioctl(self._descriptor, termios.FIONREAD, b"\0\0\0\0")
        )[0]
        return found

    def _on_inner(self) -> None:
        try:
            self.flush()
        except OSError:
            self.close()
        if self._outgoing and not self.is_closed:  # the next wait sends the rest
            self._loop.remove_reader(self._inner)


class _Passage(Generic[RV]):
    """A generator of psycopg that waits for libpq's socket, driven by that of the server."""

    def __init__(self, gate: SocketGate, steps: PQGen[RV]) -> None:
        self.gate = gate
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
                self._step(ready)
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


def _tcp_port(descriptor: int) -> int | None:
    """The local port; None for one end of the pair of a gate."""
    with socket.socket(fileno=os.dup(descriptor)) as duplicate:
        return None if duplicate.family == socket.AF_UNIX else int(duplicate.getsockname()[1])


def _announced(steps: PQGenConn[RV], announce: Announce | None) -> PQGenConn[RV]:
    """Announces the local port of each socket before the steps wait for it."""
    if announce is None:
        return (yield from steps)
    known = None
    try:
        descriptor, wanted = next(steps)
        while True:
            port = _tcp_port(descriptor)
            if port is not None and port != known:
                announce(port)
                known = port
            descriptor, wanted = steps.send((yield descriptor, wanted))
    except StopIteration as done:
        found: RV = done.value
        return found


def _gated(steps: PQGenConn[RV]) -> PQGenConn[tuple[RV, SocketGate]]:
    """Puts a gate before each socket that the steps open, with `START_BYTES` for each."""
    gate: SocketGate | None = None
    try:
        descriptor, wanted = next(steps)
        while True:
            if gate is None or _tcp_port(descriptor) is not None:  # libpq may open another socket
                if not wanted & WAIT_R:  # it is not connected yet, or has not received anything
                    descriptor, wanted = steps.send((yield descriptor, wanted))
                    continue
                if gate is not None:
                    gate.close()
                gate = SocketGate(descriptor)
            ready = yield from _wait_at(gate, wanted)
            descriptor, wanted = steps.send(ready)
    except StopIteration as done:
        found: RV = done.value
        if gate is None:
            raise psycopg.OperationalError("connection failed") from None
        opened, gate = gate, None
        return found, opened
    finally:
        if gate is not None:
            gate.close()


def _wait_at(
    gate: SocketGate, wanted: int
) -> Generator[tuple[int, waiting.Wait], waiting.Ready | int, waiting.Ready]:
    """Waits until libpq can read or write; raises after `START_BYTES`."""
    gate.flush()
    ready = 0
    while not ready:
        if wanted & WAIT_R and gate.fill():
            ready |= READY_R
        if wanted & WAIT_W and not gate.has_outgoing:
            ready |= READY_W
        if gate.passed > START_BYTES:
            raise psycopg.OperationalError("connection failed: too many bytes before its start")
        server = (wanted & WAIT_R) | (WAIT_W if gate.has_outgoing else 0)
        if not ready:
            yield gate.server.fileno(), waiting.Wait(server)
            gate.flush()
    return waiting.Ready(ready)


class BoundedConnection(psycopg.AsyncConnection[tuple[Any, ...]]):
    """Every wait for the server passes through the gate and its limits."""

    gate: SocketGate | None = None
    slot: LargeRowSlot
    arrived = 0
    """Bytes that arrived during the last wait: an upper bound of the size of its result."""
    has_large_buffer = False
    """libpq keeps its buffer until the connection is closed."""
    _noticed = 0
    awaits_slot = False
    _slot_since = 0.0

    announce: Announce | None = None

    @classmethod
    def _connect_gen(cls, conninfo: str = "") -> PQGenConn[Self]:
        announce = announcing.get()
        steps = _announced(super()._connect_gen(conninfo), announce)
        connection, gate = yield from _gated(steps)
        connection.announce = announce
        connection.gate = gate
        return connection

    def _cancel_gen(self) -> PQGenConn[None]:
        return _announced(super()._cancel_gen(), self.announce)

    def use_slot(self, slot: LargeRowSlot) -> None:
        """To be called once, before the first statement."""
        self.slot = slot
        self.add_notice_handler(self._count_notice)

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
        passage = _Passage(self.gate, gen)
        try:
            return await self._drive(passage)
        except asyncio.CancelledError:
            await self._end_statement(passage)
            raise

    def poll_input(self) -> None:
        """Reads what an idle connection has received, so that its end is noticed.

        Raises:
            psycopg.Error: The server has closed the connection.
        """
        for _ in range(2):  # the server's last message, then the end
            if self.gate is None or self.gate.fill():
                self.pgconn.consume_input()

    async def _drive(self, passage: _Passage[RV]) -> RV:
        gate = passage.gate
        began, self._noticed = gate.passed, 0
        try:
            while True:
                await waiting.wait_async(
                    passage.advance(gate.passed + TURN_BYTES), gate.server.fileno(), INTERVAL_S
                )
                self._require_few_settings()
                if passage.is_done:
                    return passage.value
                await self._allow(gate.passed - began - self._noticed)
        finally:
            self.arrived = gate.passed - began

    def _require_few_settings(self) -> None:
        """Refuses a long list of settings: libpq searches all of it for each one that arrives.

        libpq tells neither their number nor their names, and TLS hides the messages. So the search
        itself is timed; the fastest of several shows the length of the list also on a busy machine.
        """
        for _ in range(5):
            began = time.perf_counter()
            self.pgconn.parameter_status(b"no setting has this name")
            if time.perf_counter() - began < LOOKUP_S:
                return
        self.slot.release()
        self.pgconn.finish()
        raise TooManySettings("the server reported too many settings")

    async def _allow(self, size: int) -> None:
        """Returns when the connection may buffer more than `size`."""
        now = asyncio.get_running_loop().time()
        if size > self.slot.row_bytes or (self.slot.is_held and now - self._slot_since > SLOT_S):
            self.slot.release()
            self.pgconn.finish()
            raise RowTooLarge(self.slot.row_bytes)
        if size > FREE_BYTES and not self.slot.is_held:
            self.awaits_slot = True
            await self.slot.acquire()
            self.awaits_slot = False
            self._slot_since = asyncio.get_running_loop().time()
        self.has_large_buffer |= size > LARGE_BUFFER_BYTES
        while self.pgconn.notifies():  # else libpq collects them until the result
            pass
        await asyncio.sleep(0)

    async def _end_statement(self, passage: _Passage[Any]) -> None:
        """Cancels the statement of a cancelled task, as psycopg does, or closes the connection."""
        if self.closed or self.pgconn.transaction_status != TransactionStatus.ACTIVE:
            return
        if self.awaits_slot:
            self.pgconn.finish()
            return
        try:
            async with asyncio.timeout(CANCEL_S):
                await self._try_cancel(timeout=CANCEL_S)
                await self._drive(passage)
        except psycopg.errors.QueryCanceled:
            pass
        except BaseException as error:
            self.pgconn.finish()
            if not isinstance(error, Exception):
                raise

    def _count_notice(self, notice: Diagnostic) -> None:
        """A notice leaves libpq's buffer at once, before the result that it precedes."""
        texts = (notice.message_primary, notice.message_detail, notice.message_hint, notice.context)
        self._noticed += sum(len(text or "") for text in texts)

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
)

RV = TypeVar("RV")
Announce: TypeAlias = Callable[[int], None]
"""Called with the local port of each socket that libpq opens: for the tunnel that admits it."""
announcing: ContextVar[Announce | None] = ContextVar("announcing", default=None)
PIECE_BYTES = 64 * 1024
TURN_BYTES = 1024 * 1024
"""Read at most in one turn of the event loop."""
INTERVAL_S = 0.1
CANCEL_S = 5.0
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
        """Ends when `is_done`, or when the gate has passed on `until` bytes."""
        gate = self.gate
        gate.flush()
        while not self.is_done and gate.passed < until:
            ready = self._ready()
            if ready or self._wanted is None:
                self._step(ready)
                gate.flush()
            else:
                wanted = (self._wanted & WAIT_R) | (WAIT_W if gate.has_outgoing else 0)
                yield waiting.Wait(wanted)
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


def _announced(steps: PQGenConn[RV], announce: Announce | None) -> PQGenConn[RV]:
    """Announces the local port of each socket before the steps wait for it."""
    if announce is None:
        return (yield from steps)
    known = None
    try:
        descriptor, wanted = next(steps)
        while True:
            with socket.socket(fileno=os.dup(descriptor)) as duplicate:
                port = duplicate.getsockname()[1]
            if port != known:
                announce(port)
                known = port
            descriptor, wanted = steps.send((yield descriptor, wanted))
    except StopIteration as done:
        found: RV = done.value
        return found


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
        connection = yield from _announced(super()._connect_gen(conninfo), announce)
        connection.announce = announce
        return connection

    def _cancel_gen(self) -> PQGenConn[None]:
        return _announced(super()._cancel_gen(), self.announce)

    def install_gate(self, slot: LargeRowSlot) -> None:
        self.gate = SocketGate(self.pgconn.socket)
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
                if passage.is_done:
                    return passage.value
                await self._allow(gate.passed - began - self._noticed)
        finally:
            self.arrived = gate.passed - began

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

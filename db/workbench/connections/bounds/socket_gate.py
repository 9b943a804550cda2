"""The socket pair through which libpq receives the bytes of a server, from the first one on."""

import asyncio
import contextlib
import fcntl
import os
import socket
import struct
import termios
from collections.abc import Callable, Generator
from typing import TypeAlias, TypeVar

import psycopg
from psycopg import waiting
from psycopg.abc import PQGenConn
from psycopg.waiting import READY_R, READY_W, WAIT_R, WAIT_W

RV = TypeVar("RV")
Announce: TypeAlias = Callable[[int], None]
"""Called with the local port of each socket that libpq opens: for the tunnel that admits it."""
PIECE_BYTES = 64 * 1024
SMALLEST_PIECE_BYTES = 2 * 1024
STEP_S = 0.001
"""libpq should process a piece in half of this: 64 KiB of small notices would take 20 ms."""
START_BYTES = 32 * 1024
"""Read at most from a socket until the connection is ready: certificates, settings, notices."""


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
        self._piece_bytes = SMALLEST_PIECE_BYTES
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

    @property
    def has_unread(self) -> bool:
        """Whether libpq can read the last piece, or the end."""
        return self._ended or self.holds_piece

    @property
    def holds_piece(self) -> bool:
        """Whether libpq has not read all of the last piece."""
        if self.is_closed:
            return False
        found = fcntl.ioctl(self._descriptor, termios.FIONREAD, b"\0\0\0\0")
        return bool(struct.unpack("i", found)[0])

    def fill(self) -> bool:
        """Passes one piece to libpq if it has read the one before; returns whether it can read."""
        if self.has_unread:
            return True
        try:
            size = self.server.recv_into(self._piece, self._piece_bytes)
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

    def adapt_piece(self, step_s: float) -> None:
        """Makes pieces larger after a step that was fast, and smaller after one that was slow."""
        if step_s < STEP_S / 2:
            self._piece_bytes = min(2 * self._piece_bytes, PIECE_BYTES)
        elif step_s > STEP_S:
            self._piece_bytes = max(self._piece_bytes // 2, SMALLEST_PIECE_BYTES)

    def flush(self) -> None:
        """Passes what libpq has written to the server, as far as its socket accepts it."""
        with contextlib.suppress(BlockingIOError, InterruptedError):
            while not self.is_closed:
                if not self._outgoing:
                    self._outgoing = self._receive()
                if not self._outgoing:
                    self.close()  # libpq has closed its end
                    return
                self._outgoing = self._outgoing[self._send() :]

    def _receive(self) -> bytes:
        """Empty at the end: a reset if libpq has closed its end with bytes unread."""
        try:
            return self._inner.recv(PIECE_BYTES)
        except ConnectionError:
            return b""

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

    def _on_inner(self) -> None:
        try:
            self.flush()
        except OSError:
            self.close()
        if self._outgoing and not self.is_closed:  # the next wait sends the rest
            self._loop.remove_reader(self._inner)


def _tcp_port(descriptor: int) -> int | None:
    """The local port; None for one end of the pair of a gate."""
    with socket.socket(fileno=os.dup(descriptor)) as duplicate:
        return None if duplicate.family == socket.AF_UNIX else int(duplicate.getsockname()[1])


def announced(steps: PQGenConn[RV], announce: Announce | None) -> PQGenConn[RV]:
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


def gated(steps: PQGenConn[RV]) -> PQGenConn[tuple[RV, SocketGate]]:
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
    """Waits until libpq can read or write; raises after `START_BYTES`.

    Each piece waits for the event loop, so that others are served between two pieces: libpq takes
    milliseconds for one with settings of the server, which it compares with all before.
    """
    gate.flush()
    while True:
        ready = READY_R if wanted & WAIT_R and gate.has_unread else 0
        if wanted & WAIT_W and not gate.has_outgoing:
            ready |= READY_W
        if ready:
            return waiting.Ready(ready)
        server = (wanted & WAIT_R) | (WAIT_W if gate.has_outgoing else 0)
        if (yield gate.server.fileno(), waiting.Wait(server)) & READY_R:
            gate.fill()
        if gate.passed > START_BYTES:
            raise psycopg.OperationalError("connection failed: too many bytes before its start")
        gate.flush()

"""Limits what an SSH server may make its tunnel process beyond the bytes of the database."""

import time
from collections.abc import Callable

import asyncssh

BEFORE_LOGIN_BYTES = 64 * 1024
"""A handshake and login take less than 20 kB."""
OVERHEAD_BYTES = 4 * 1024 * 1024
"""More than the window of a channel (2 MiB), which may arrive before any of it is delivered."""
OVERHEAD_BYTES_S = 64 * 1024
PACKET_FACTOR = 8
"""Bytes on the wire that are granted for each byte delivered: packets have padding and a MAC."""
PIECE_BYTES = 4 * 1024
"""Bytes that are parsed at once: as the smallest packets they take about 5 ms."""
REST_BELOW = 0.75
"""Part of the budget. A tunnel that has less left rests as long as it works."""


class SshBudget:
    """Counts received bytes, and ends the connection when they exceed what is granted."""

    def __init__(self, rest: Callable[[float], None]) -> None:
        """`rest` blocks the thread of the tunnel for some seconds."""
        self.is_exceeded = False
        self._rest = rest
        self._most = self._left = float(BEFORE_LOGIN_BYTES)
        self._rate = 0.0
        self._at = time.monotonic()

    def watch(self, connection: asyncssh.SSHClientConnection) -> None:
        """Counts the bytes before asyncssh decrypts and parses them."""
        receive = connection.data_received

        def count(data: bytes, datatype: asyncssh.DataType = None) -> None:
            for start in range(0, len(data), PIECE_BYTES):
                piece = data[start : start + PIECE_BYTES]
                if not self._spend(len(piece)):
                    connection.abort()
                    return
                began = time.thread_time()
                receive(piece, datatype)
                if self._left < REST_BELOW * self._most:
                    self._rest(time.thread_time() - began)

        connection.data_received = count  # type: ignore[method-assign]

    def log_in(self) -> None:
        """Call after authentication."""
        self._most = self._left = float(OVERHEAD_BYTES)
        self._rate = float(OVERHEAD_BYTES_S)

    def deliver(self, size: int) -> None:
        """Grants the overhead of bytes that were delivered to the client of the tunnel."""
        self._left = min(self._most, self._left + PACKET_FACTOR * size)

    def _spend(self, size: int) -> bool:
        now = time.monotonic()
        self._left = min(self._most, self._left + self._rate * (now - self._at)) - size
        self._at = now
        self.is_exceeded |= self._left < 0
        return not self.is_exceeded

"""Connects through libpq, and refuses a login that takes it long to compute.

The server chooses the number of iterations of SCRAM, up to two billion, and libpq computes all of
them in one call, which keeps the event loop for minutes. With TLS only libpq sees the messages, so
they are read ahead in its own TLS session. In a handshake with finite-field Diffie-Hellman the
server chooses the group: one of 10,000 bits takes 1.7 s (decision 0070).
"""

import ctypes
import logging
import os
import re
import socket
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import psycopg
from psycopg import pq
from psycopg.abc import PQGenConn
from psycopg.pq import ConnStatus, PollingStatus
from psycopg.pq.abc import PGconn
from psycopg.waiting import WAIT_R, WAIT_W

from db.workbench.connections.connection_errors import (
    MAX_SCRAM_ITERATIONS,
    TOO_MANY_SCRAM_ITERATIONS,
)

_AHEAD_BYTES = 64 * 1024
"""Read ahead: a record of TLS has 16 KiB, and libpq reads one at a time."""
_CIPHERS = b"DEFAULT:!kDHE"

# As `strtol` reads the number. Also in a message that is none of SCRAM, which has no such text.
_iterations = re.compile(rb"i=[\s+]*([0-9]+)").finditer

log = logging.getLogger(__name__)


def connect_guarded(conninfo: str) -> PQGenConn[PGconn]:
    """Does what `psycopg.generators.connect` does.

    Raises:
        psycopg.OperationalError: The connection failed, or its login takes too long.
    """
    pgconn: PGconn = pq.PGconn.connect_start(conninfo.encode())
    arrived = b""
    while pgconn.status != ConnStatus.BAD:
        match pgconn.connect_poll():
            case PollingStatus.OK:
                pgconn.nonblocking = 1
                return pgconn
            case PollingStatus.READING:
                while not (yield pgconn.socket, WAIT_R):
                    pass
                arrived += _read_ahead(pgconn)
                if any(_is_excessive(found[1]) for found in _iterations(arrived)):
                    pgconn.finish()
                    raise psycopg.OperationalError(TOO_MANY_SCRAM_ITERATIONS)
            case PollingStatus.WRITING:
                while not (yield pgconn.socket, WAIT_W):
                    pass
            case _:
                break
    message = f"connection failed: {pgconn.get_error_message()}"
    pgconn.finish()
    raise psycopg.OperationalError(message)


def cancel_guarded(pgconn: Any, steps: Callable[[], PQGenConn[None]]) -> PQGenConn[None]:
    """Does what `steps`, those of psycopg, do: its cancel connection does not show its session.

    Raises:
        psycopg.OperationalError: The request was not sent.
    """
    libpq = _libpq()
    if libpq is None or not hasattr(libpq, "PQcancelCreate"):  # before PostgreSQL 17
        return (yield from steps())
    cancel = ctypes.c_void_p(libpq.PQcancelCreate(ctypes.c_void_p(pgconn.pgconn_ptr)))
    try:
        libpq.PQcancelStart(cancel)
        while (status := libpq.PQcancelPoll(cancel)) != PollingStatus.OK:
            if status not in {PollingStatus.READING, PollingStatus.WRITING}:
                reason = libpq.PQcancelErrorMessage(cancel) or b""
                raise psycopg.OperationalError(
                    f"cancellation failed: {reason.decode(errors='replace')}"
                )
            wanted = WAIT_R if status == PollingStatus.READING else WAIT_W
            while not (yield libpq.PQcancelSocket(cancel), wanted):
                pass
            _limit_handshake(libpq, cancel)
    finally:
        libpq.PQcancelFinish(cancel)
    return None


def _is_excessive(digits: bytes) -> bool:
    significant = digits.lstrip(b"0")
    is_long = len(significant) > len(str(MAX_SCRAM_ITERATIONS))
    return is_long or int(significant or b"0") > MAX_SCRAM_ITERATIONS


def _read_ahead(pgconn: PGconn) -> bytes:
    """What libpq reads next of the messages of the server; it stays unread."""
    if pgconn.ssl_in_use:
        return _read_tls_ahead(pgconn)
    with socket.socket(fileno=os.dup(pgconn.socket)) as duplicate:
        try:
            return duplicate.recv(_AHEAD_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except OSError:  # which libpq reports
            return b""


def _read_tls_ahead(pgconn: Any) -> bytes:
    """Empty during the handshake, in which libpq reads no messages."""
    libpq = _libpq()
    session = libpq and _limit_handshake(libpq, ctypes.c_void_p(pgconn.pgconn_ptr))
    if libpq is None or session is None:
        return b""
    buffer = ctypes.create_string_buffer(_AHEAD_BYTES)
    size = libpq.SSL_peek(session, buffer, _AHEAD_BYTES)
    return buffer.raw[: max(0, size)]


def _limit_handshake(libpq: ctypes.CDLL, pgconn: ctypes.c_void_p) -> ctypes.c_void_p | None:
    """The session of a connection; None before its handshake has ended, or without TLS.

    A connection for a cancel request begins with an ordinary one in all versions of libpq.
    """
    session = ctypes.c_void_p(libpq.PQsslStruct(pgconn, b"OpenSSL"))
    if session.value is None:
        return None
    if libpq.SSL_is_init_finished(session):
        return session
    # The client's hello was sent. Its ciphers are compared with the server's choice.
    libpq.SSL_set_cipher_list(session, _CIPHERS)
    return None


@cache
def _libpq() -> ctypes.CDLL | None:
    """The libpq that psycopg has loaded, with the OpenSSL that this libpq uses."""
    try:
        libpq = ctypes.CDLL(sys.modules[pq.PGconn.__module__].__file__)
        libpq.PQsslStruct.restype = ctypes.c_void_p
        if hasattr(libpq, "PQcancelCreate"):
            libpq.PQcancelCreate.restype = ctypes.c_void_p
            libpq.PQcancelErrorMessage.restype = ctypes.c_char_p
        for name in ("SSL_set_cipher_list", "SSL_is_init_finished", "SSL_peek"):
            getattr(libpq, name)
    except (AttributeError, OSError):
        log.warning("the logins of TLS connections are not limited: libpq has no OpenSSL")
        return None
    return libpq

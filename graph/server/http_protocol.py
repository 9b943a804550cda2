"""The HTTP protocol of uvicorn with limits on what a client may keep open, large or unfinished."""

import asyncio
from collections import Counter
from collections.abc import Container
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from db.client_networks import network_of
from graph.transport.gateway import Shutdown

HEAD_BYTES = 65_536
MAX_HEADERS = 200
"""Of a request. Short ones take 30 times as much memory as they have bytes."""
PIECE_BYTES = 16_384
"""Parsed before the limits are checked again: one read has up to 256 KB."""
FRAMING_BYTES = 16_384
"""Of a chunked body besides its content: sizes of chunks, and trailers. As many as the content has
are permitted too: chunks of one byte cost as much as messages of their own."""
MAX_PIPELINED = 20
"""Requests of a connection that wait for the response to one before them."""
HEAD_TIMEOUT_S = 15.0
"""For the headers, from the connection or the first byte of a request to the last."""
BODY_TIMEOUT_S = 60.0
"""For the body, except of uploads, which have a minimum rate (graph.transport.files.uploads)."""
UNREAD_BODY_TIMEOUT_S = 5.0
"""For the rest of a body whose request was answered without it."""
UNREAD_RESPONSE_TIMEOUT_S = 60.0
"""For a client to read as much of a response as the buffers of the connection hold."""

_UPLOADS = "/files/"
_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_HEAD_TOO_LARGE = b"431 Request Header Fields Too Large"
_REFUSAL = (
    b"HTTP/1.1 %b\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: %d\r\n\r\n%b"
)


class Refused(Exception):
    """Ends the parsing of a connection that is closed."""


class ConnectionsByAddress:
    """Counts the HTTP connections of each address, and of each IPv6 /64 network."""

    def __init__(self, limit: int | None, *, exempt: Container[str] = ()) -> None:
        """`exempt` are the trusted proxies, whose connections are those of many clients."""
        self._limit = limit
        self._exempt = exempt
        self._open: Counter[str] = Counter()

    def enter(self, address: str) -> str | None:
        """The key for `leave`, or None if the address has too many connections."""
        if self._limit is None or not address or address in self._exempt:
            return ""  # a client that has gone before it was looked at has no address
        network = network_of(address)
        if self._open[network] >= self._limit:
            return None
        self._open[network] += 1
        return network

    def leave(self, network: str) -> None:
        if network:
            self._open[network] -= 1
            if not self._open[network]:
                del self._open[network]


class Cycle(RequestResponseCycle):
    """One request and its response. Writes a response whose body is one message at once.

    uvicorn writes head and body by a system call each: 7.6 us instead of 4.1 us. It sends all other
    responses, and those with headers that are not safe.
    """

    _encoded_of: ClassVar[list[tuple[bytes, bytes]]] = []
    _encoded: ClassVar[bytes] = b""

    _start: Any = None
    """The head of a response with a known length, until its body."""

    def respond(self, status: int, headers: bytes, body: bytes) -> bool:
        """Writes a whole response at once, for a caller that has encoded its headers.

        They end with an empty line and have the content length. Returns false, and writes nothing,
        if the messages of ASGI have to be sent.
        """
        if not self.keep_alive or self.response_started or self.disconnected:
            return False
        if self.flow.write_paused:
            return False
        self.response_started = self.response_complete = True
        self.transport.write(b"".join((STATUS_LINE[status], self._default_head(), headers, body)))
        self.message_event.set()
        self.on_response()
        return True

    async def receive(self) -> Any:
        """Does not wait for a body that is complete."""
        if self.more_body or self.response_complete or self.waiting_for_100_continue:
            return await super().receive()
        if self.disconnected or not self.message_event.is_set():
            return await super().receive()
        self.message_event.clear()
        self.flow.resume_reading()
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": False}

    def _default_head(self) -> bytes:
        """Encoded when uvicorn replaces the list, each second for the date."""
        if self.default_headers is not Cycle._encoded_of:
            Cycle._encoded_of = self.default_headers
            Cycle._encoded = b"".join([b"%b: %b\r\n" % pair for pair in self.default_headers])
        return Cycle._encoded

    async def send(self, message: Any) -> None:
        start, self._start = self._start, None
        if message["type"] == "http.response.start":
            if self._may_wait(message):
                self._start = message
                return
        elif start is not None:
            if self._write_whole(start, message):
                return
            await super().send(start)
        await super().send(message)

    def _may_wait(self, start: Any) -> bool:
        """A stream without a length sends its head at once: its first bytes may take long."""
        fields = dict(start["headers"])
        return (
            b"content-length" in fields
            and b"connection" not in fields
            and self.scope["method"] != "HEAD"
            and not self.response_started
        )

    def _write_whole(self, start: Any, message: Any) -> bool:
        """Returns false, and writes nothing, if uvicorn has to send the messages."""
        if message.get("more_body"):
            return False
        body, headers = message.get("body", b""), list(start["headers"])
        head = b"".join([b"%b: %b\r\n" % pair for pair in headers])
        is_safe = head.count(b"\r") == head.count(b"\n") == len(headers) and b"\0" not in head
        if not is_safe or b"content-length: %d\r\n" % len(body) not in head:
            return False
        return self.respond(start["status"], head + b"\r\n", body)


class Protocol(HttpToolsProtocol):
    """Ends connections that are too many, or that send a request too slowly.

    A request that arrives in one piece starts no timer.
    """

    def __init__(
        self,
        *args: Any,
        connections: ConnectionsByAddress,
        stopping: Shutdown,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self._connections = connections
        self._stopping = stopping
        self._network: str | None = None
        self._head_bytes: int | None = None  # received so far; None outside of a head
        self._in_body = False
        self._running: RequestResponseCycle | None = None
        self._body_bytes = 0
        self._framing_bytes = 0  # of the body: what is not its content
        self._timer: asyncio.TimerHandle | None = None
        self._waits_for: float | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._idle_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's
        super().connection_made(transport)
        self._network = self._connections.enter(self.client[0] if self.client else "")
        if self._network is None:
            transport.abort()
        else:
            self._wait(HEAD_TIMEOUT_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        self._disconnect_running()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        self._leave()  # graph.transport.websocket has limits of its own
        super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= MAX_PIPELINED:
            self._disconnect_running()  # a response would be taken for one to an earlier request
            self.transport.abort()
            raise Refused
        self._wait(None)
        self._head_bytes = self._body_bytes = self._framing_bytes = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Drops trailers: a client could replace headers that a proxy has set (RFC 9110, 6.5.1)."""
        if self._in_body:
            return
        if len(self.headers) >= MAX_HEADERS:
            self._refuse(_HEAD_TOO_LARGE, f"The request has more than {MAX_HEADERS} headers.")
            raise Refused
        super().on_header(name, value)

    def send_400_response(self, msg: str) -> None:
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_headers_complete(self) -> None:
        self._head_bytes = None
        self._in_body = True
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        cycle.__class__ = Cycle  # uvicorn has no setting for it
        self._running = cycle
        if self._stopping.draining:
            cycle.keep_alive = False
        super()._start_asgi_task(cycle, app)

    def close_after_response(self) -> None:
        """An idle connection stays open for a request that the client may be sending."""
        if not self._is_answered():
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        self._in_body = False
        self._wait(None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Like uvicorn's, but a busy connection keeps its timer: another for each costs 1.3 us."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._idle_since = self.loop.time()
            if self.timeout_keep_alive_task is None:
                self._close_if_idle_for(self.timeout_keep_alive)
        if self._in_body:
            self._wait(UNREAD_BODY_TIMEOUT_S)

    def _unset_keepalive_if_required(self) -> None:
        """For uvicorn, which calls it when data arrives: the connection is not idle any more."""
        self._idle_since = None

    def timeout_keep_alive_handler(self) -> None:
        self.timeout_keep_alive_task = None
        if self._idle_since is None:
            return  # the end of the next response starts the timer again
        left_s = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self._close_if_idle_for(left_s)
        else:
            super().timeout_keep_alive_handler()

    def _close_if_idle_for(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(UNREAD_RESPONSE_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_unread()

    def data_received(self, data: bytes) -> None:
        if len(data) > HEAD_BYTES and not self._in_body and not _ends_head(data):
            self._refuse_head(uri_bytes=len(data.partition(b"\r\n")[0]))
            return
        for start in range(0, len(data), PIECE_BYTES):
            if not self._parse(data[start : start + PIECE_BYTES]):
                return
        self._wait(self._time_for_the_rest())

    def _parse(self, data: bytes) -> bool:
        """Returns false if the connection ends, or becomes a WebSocket."""
        was_in_body, cycle, body_bytes = self._in_body, self.cycle, self._body_bytes
        super().data_received(data)
        if self.transport.is_closing() or self._network is None:
            return False
        is_same = self.cycle is cycle
        if self._head_bytes is not None:
            if was_in_body or not is_same:  # other requests precede it in the data
                self._head_bytes = self._parsed_head_bytes()
            else:
                self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._refuse_head(uri_bytes=len(self.url))
                return False
        elif was_in_body and is_same:
            self._framing_bytes += len(data) - (self._body_bytes - body_bytes)
            if self._framing_bytes > FRAMING_BYTES + self._body_bytes:
                self._refuse_framing()
                return False
        return True

    def _parsed_head_bytes(self) -> int:
        """What is complete of a head. The rest, at most one read, is not counted."""
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _refuse_head(self, *, uri_bytes: int) -> None:
        is_uri = uri_bytes > HEAD_BYTES // 2
        status = b"414 URI Too Long" if is_uri else _HEAD_TOO_LARGE
        text = f"The {'URI is' if is_uri else 'headers are'} larger than {HEAD_BYTES:,} bytes."
        self._refuse(status, text)

    def _disconnect_running(self) -> None:
        """Uvicorn tells only the last request, which may wait in the pipeline."""
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()

    def _refuse_framing(self) -> None:
        if self.cycle.response_started:
            self.transport.close()
        else:
            self._refuse(b"400 Bad Request", "The body is in chunks that are too short.")

    def _refuse(self, status: bytes, text: str) -> None:
        self.transport.write(_REFUSAL % (status, len(text), text.encode()))
        self.transport.close()

    def _time_for_the_rest(self) -> float | None:
        """None while the server is at work, and for uploads."""
        if self._in_body:
            if self._is_answered():
                return UNREAD_BODY_TIMEOUT_S
            return None if self.scope["path"].startswith(_UPLOADS) else BODY_TIMEOUT_S
        # Outside of a head these are blank lines, which keep a connection open too.
        return HEAD_TIMEOUT_S if self._head_bytes is not None or self._is_answered() else None

    def _is_answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr]  # None at first

    def _wait(self, seconds: float | None) -> None:
        """Starts the timer, unless the same one already runs."""
        if seconds == self._waits_for:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._waits_for = seconds
        self._timer = None if seconds is None else self.loop.call_later(seconds, self._expire)

    def _expire(self) -> None:
        self._timer = self._waits_for = None
        if self.transport.is_closing():
            return
        if not self._is_answered() and not self._in_body:  # the head of a pipelined request
            self._wait(HEAD_TIMEOUT_S)
            return
        if self._head_bytes is not None or (self._in_body and not self.cycle.response_started):
            self.transport.write(_TIMEOUT)
        self.transport.close()

    def _stop_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _leave(self) -> None:
        self._wait(None)
        self._stop_unread()
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None
        network, self._network = self._network, None
        if network is not None:
            self._connections.leave(network)


def _ends_head(data: bytes) -> bool:
    """Whether the headers at the start of the data end within the limit."""
    return data.find(b"\r\n\r\n", 0, HEAD_BYTES) >= 0

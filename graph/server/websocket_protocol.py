"""The WebSocket protocol of uvicorn with limits on frames that are no message.

What a message makes the server do has limits of its own (graph.transport.websocket). Pings, pongs
and parts of messages cost 10 us each and have 6 bytes: read at once, they stop the loop.
"""

from asyncio import Task, TimerHandle
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame

REFUSED = CloseCode.POLICY_VIOLATION
PIECE_BYTES = 4_096
"""Parsed in one iteration of the event loop."""
MAX_CONTROL_FRAMES = 100
"""Pings and pongs of a client in a window. Clients send one every few seconds."""
WINDOW_S = 10.0
MAX_PARTS = 1_000
"""Frames of one message, of 1 MB at most."""
UNREAD_TIMEOUT_S = 60.0
"""For a client to read as much as the buffers of the connection hold."""
CLOSING_TIMEOUT_S = 10.0
"""For a client to read what was sent before the end of the socket."""


class SocketProtocol(WebSocketsSansIOProtocol):
    """Parses what it reads in pieces, and reads on when all of it is parsed.

    Once it has closed a socket itself, it is `disconnected`: uvicorn raises RuntimeError for what
    the application sends then, which would be logged as an error of the server.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._unparsed = b""
        self._goes_on = False
        self._controls = 0
        self._window_ends_at = 0.0
        self._unread: TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        if not self._unparsed and len(data) <= PIECE_BYTES:
            super().data_received(data)
            return
        self._unparsed += data
        self.transport.pause_reading()
        self._go_on_soon()

    async def receive(self) -> Any:
        """Like uvicorn's, but parses the rest before it reads on."""
        message = await self.queue.get()
        if self.read_paused and self.queue.empty():
            self.read_paused = False
            self._go_on_soon()
        return message

    def _go_on_soon(self) -> None:
        if not self._goes_on:
            self._goes_on = True
            self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Parses the next piece, or reads on, unless the application has messages to take."""
        self._goes_on = False
        if self.transport.is_closing() or self.read_paused:
            return
        if not self._unparsed:
            self.transport.resume_reading()
            return
        piece, self._unparsed = self._unparsed[:PIECE_BYTES], self._unparsed[PIECE_BYTES:]
        super().data_received(piece)
        self._go_on_soon()

    def handle_ping(self) -> None:
        self._count_control()
        super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        self._count_control()
        super().handle_pong(event)

    def handle_cont(self, event: Frame) -> None:
        super().handle_cont(event)
        if len(self.frames) >= MAX_PARTS:
            self._refuse("A message has too many parts")

    def handle_parser_exception(self) -> None:
        super().handle_parser_exception()
        self.disconnected = True

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self.disconnected = True

    def _count_control(self) -> None:
        now = self.loop.time()
        if now >= self._window_ends_at:
            self._window_ends_at, self._controls = now + WINDOW_S, 0
        self._controls += 1
        if self._controls > MAX_CONTROL_FRAMES:
            self._refuse("Too many pings and pongs")

    def _refuse(self, reason: str) -> None:
        if self.close_sent:
            return
        self.conn.fail(REFUSED, reason)
        self.close_sent = self.disconnected = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": REFUSED, "reason": reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(UNREAD_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_unread()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_unread()
        super().connection_lost(exc)

    def on_task_complete(self, task: Task[None]) -> None:
        """A closed connection remains until the client has read what is left."""
        super().on_task_complete(task)
        self.loop.call_later(CLOSING_TIMEOUT_S, self.transport.abort)

    def _stop_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

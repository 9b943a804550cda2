"""Strict-Transport-Security: browsers that reached the server over https use nothing else."""

from typing import Self

from starlette.types import Message, Scope, Send

from db.settings import Settings
from graph.transport.encoded_responses import responder


class HttpsPolicy:
    """Adds the header to responses over https, also behind a trusted proxy that ends TLS.

    Over http browsers ignore it (RFC 6797, 8.1).
    """

    def __init__(self, seconds: int) -> None:
        self._header = (b"strict-transport-security", f"max-age={seconds}".encode())

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """None in development, whose machine serves other things over http."""
        if settings.development or not settings.hsts_seconds:
            return None
        return cls(settings.hsts_seconds)

    def sender(self, scope: Scope, send: Send) -> Send:
        if scope["type"] != "http" or scope.get("scheme") != "https":
            return send
        return _HttpsResponse(send, self._header).send


class _HttpsResponse:
    """A response that gets the header."""

    __slots__ = ("_header", "_send")

    def __init__(self, send: Send, header: tuple[bytes, bytes]) -> None:
        self._send = send
        self._header = header

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), self._header]
        await self._send(message)

    def respond(self, status: int, headers: bytes, body: bytes) -> bool:
        """Writes an encoded response."""
        respond = responder(self._send)
        head = b"%b: %b\r\n%b" % (*self._header, headers)
        return respond is not None and respond(status, head, body)

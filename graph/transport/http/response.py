"""Writes one HTTP response, in whole or piece by piece."""

import math
from collections.abc import Hashable, Iterable
from contextlib import AbstractContextManager

from starlette.types import Message, Scope, Send

from graph.operations import Answer
from graph.transport.compression import MIN_BYTES, accepts_gzip
from graph.transport.encoded_responses import responder
from graph.transport.gateway import Gateway
from graph.transport.http.headers import (
    ACCEPT_QUERY,
    CHALLENGE,
    CONTENT_TYPES,
    EVERY_RESPONSE,
    HEADS,
    UNBUFFERED,
    Header,
)
from graph.transport.http.refresh_cookie import RefreshCookie
from graph.transport.limits.unread_responses import LARGE_BYTES
from graph.transport.middleware.seen_header import SEEN_HEADER


class Response:
    """The response to one request."""

    __slots__ = (
        "_cookie",
        "_gateway",
        "_is_post",
        "_request_id",
        "_send",
        "seen",
        "sender",
        "started",
    )

    def __init__(self, scope: Scope, send: Send, request_id: str, cookie: RefreshCookie) -> None:
        self._send = send
        self._gateway: Gateway = scope["state"]["gateway"]
        self._is_post: bool = scope["method"] == "POST"
        self._request_id = request_id
        self._cookie = cookie
        self.seen: bytes | None = None  # the client's position, for Howdah-Seen
        self.sender: Hashable = None  # once it is known
        self.started = False

    def write_at_once(self, answer: Answer, media_type: str | None, coding: bytes | None) -> bool:
        """Writes an answer with data only to POST. Returns false if `send` has to do it.

        With other headers, or compressed, the response takes the way of ASGI.
        """
        respond = responder(self._send)
        payload = answer.payload
        if (
            respond is None
            or not self._is_post
            or answer.errors
            or len(payload) >= LARGE_BYTES
            or (len(payload) > MIN_BYTES and accepts_gzip(coding))
            or media_type is None
            or media_type not in HEADS
            or self._cookie.response_headers
        ):
            return False
        head = HEADS[media_type] % (self._request_id.encode(), len(payload))
        if self.seen is not None:
            head = b"%b: %b\r\n%b" % (SEEN_HEADER, self.seen, head)
        self.started = respond(200, head, payload)
        return self.started

    async def send(
        self,
        answer: Answer,
        media_type: str,
        status: int,
        *,
        coding: bytes | None = None,
        headers: Iterable[Header] = (),
    ) -> None:
        """`coding` is the header `Accept-Encoding`, or None if nothing may be compressed."""
        payload = answer.payload
        if len(payload) > MIN_BYTES and accepts_gzip(coding):
            payload = await self._gateway.compressor.gzip(payload)
            headers = (*headers, (b"content-encoding", b"gzip"))
        if (retry_after_s := answer.retry_after_s) is not None:
            headers = (*headers, (b"retry-after", b"%d" % math.ceil(retry_after_s)))
        if status == 401:
            headers = (*headers, CHALLENGE)
        headers = ((b"content-length", b"%d" % len(payload)), *headers)
        if len(payload) < LARGE_BYTES:
            await self._start(status, CONTENT_TYPES[media_type], headers)
            await self._send({"type": "http.response.body", "body": payload})
            return
        with self._writing(payload):
            await self._start(status, CONTENT_TYPES[media_type], headers)
            await self._send(_part(payload))
            await self.end()  # returns when it is read

    async def send_text(
        self, status: int, text: bytes = b"", headers: Iterable[Header] = ()
    ) -> None:
        if status != 204:
            headers = (*headers, (b"content-length", b"%d" % len(text)))
        await self._start(status, b"text/plain; charset=utf-8", headers)
        await self._send({"type": "http.response.body", "body": text})

    async def begin_stream(self, content_type: bytes) -> None:
        await self._start(200, content_type, UNBUFFERED)

    async def write(self, chunk: bytes) -> None:
        if len(chunk) < LARGE_BYTES:
            await self._send(_part(chunk))
            return
        with self._writing(chunk):
            await self._send(_part(chunk))
            await self._send(_part(b""))  # when it is read

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def _start(self, status: int, content_type: bytes, headers: Iterable[Header]) -> None:
        self.started = True
        if not self._is_post:
            headers = (*headers, ACCEPT_QUERY)
        if self.seen is not None:
            headers = (*headers, (SEEN_HEADER, self.seen))
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (b"content-type", content_type),
                    (b"x-request-id", self._request_id.encode()),
                    *EVERY_RESPONSE,
                    *self._cookie.response_headers,
                    *headers,
                ],
            }
        )

    def _writing(self, content: bytes) -> AbstractContextManager[None]:
        return self._gateway.unread_responses.writing(self.sender, len(content))


def _part(content: bytes) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": True}

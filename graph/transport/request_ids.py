"""Gives every request an id that its response, its errors and the log agree on."""

import itertools
import re
import secrets
from collections.abc import Mapping
from contextvars import ContextVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

current_request_id: ContextVar[str] = ContextVar("current_request_id", default="")
"""Of the request that this task works for; the log names it."""

_SANE = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_process = secrets.token_hex(6)
_count = itertools.count()


class RequestIds:
    """Outermost layer: takes over the id that a proxy gave, or makes one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        request_id = begin_request(dict(scope["headers"]))
        scope.setdefault("state", {})["request_id"] = request_id
        header = (b"x-request-id", request_id.encode())

        async def send_with_id(message: Message) -> None:
            if message["type"] in {"http.response.start", "websocket.accept"}:
                message["headers"] = [*message.get("headers", ()), header]
            await send(message)

        await self._app(scope, receive, send_with_id)


def begin_request(headers: Mapping[bytes, bytes]) -> str:
    """The id of the request with these headers, and of all that is logged from now on."""
    given = headers.get(b"x-request-id", b"")
    request_id = str(given, "ascii") if _SANE.fullmatch(given) else new_request_id()
    current_request_id.set(request_id)
    return request_id


def new_request_id() -> str:
    """Unique among all replicas: a word for the process, and the request's number."""
    return f"{_process}{next(_count):06x}"

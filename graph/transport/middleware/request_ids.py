"""Request ids, shared by the response, its errors and the log."""

import itertools
import re
import secrets
from collections.abc import Mapping
from contextvars import ContextVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from db.kit.audit import Actor, current_actor
from graph.context import address_of

current_request_id: ContextVar[str] = ContextVar("current_request_id", default="")
"""The id of the request that this task handles, for the log."""

_VALID_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_process = secrets.token_hex(6)
_count = itertools.count()


class RequestIds:
    """ASGI middleware that adopts the id of a proxy, or makes one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        request_id = begin_request(dict(scope["headers"]))
        scope.setdefault("state", {})["request_id"] = request_id
        current_actor.set(Actor(request_id=request_id, address=address_of(scope)))
        header = (b"x-request-id", request_id.encode())

        async def send_with_id(message: Message) -> None:
            if message["type"] in {"http.response.start", "websocket.accept"}:
                message["headers"] = [*message.get("headers", ()), header]
            await send(message)

        await self._app(scope, receive, send_with_id)


def begin_request(headers: Mapping[bytes, bytes]) -> str:
    """Adopt or make the id of a request, and set it for the log."""
    given = headers.get(b"x-request-id")
    if given is None or not _VALID_ID.fullmatch(given):
        request_id = new_request_id()
    else:
        request_id = str(given, "ascii")
    current_request_id.set(request_id)
    return request_id


def new_request_id() -> str:
    """An id that is unique among replicas: a random process prefix and a counter."""
    return f"{_process}{next(_count):06x}"

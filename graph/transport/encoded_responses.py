"""Responses that are written at once, with headers that are encoded already.

The server of this process offers it (graph.server.http_protocol), which saves the messages of ASGI.
What replaces `send` may offer it too, as a method `respond` beside its `send`.
"""

from collections.abc import Callable
from typing import TypeAlias

from starlette.types import Send

Respond: TypeAlias = Callable[[int, bytes, bytes], bool]
"""Writes status, headers with an empty line at their end, and body. False: send them instead."""


def responder(send: Send) -> Respond | None:
    """The method beside `send`, or None if all responses have to be sent."""
    respond: Respond | None = getattr(getattr(send, "__self__", None), "respond", None)
    return respond

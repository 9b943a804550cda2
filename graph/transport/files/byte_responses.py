"""Streamed bytes and JSON errors for the plain HTTP routes."""

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, TypeAlias
from uuid import UUID

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Send

from db.concurrency.waiting import TaskSet
from db.errors import HowdahError
from db.kit.audit import Actor, AuditKind, AuditOutcome, acting, current_actor, record_alone
from db.postgres.engine import Database
from graph.errors import present_all

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]

_STATUS = {
    "BAD_USER_INPUT": 400,
    "UNAUTHENTICATED": 401,
    "FORBIDDEN": 403,
    "NOT_FOUND": 404,
    "TIMEOUT": 408,
    "CONFLICT": 409,
    "TOO_LARGE": 413,
    "RATE_LIMITED": 429,
    "OVERLOADED": 503,
    "UNAVAILABLE": 503,
}
# Stored content must not run with our origin: browsers save it, and sandbox it if it is opened.
UNTRUSTED_CONTENT_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, no-cache",
    "Referrer-Policy": "no-referrer",
}


log = logging.getLogger(__name__)

RECORD_S = 5.0
"""A server that stops waits this long for the audit log."""

_recordings = TaskSet()


async def recorded_download(
    chunks: AsyncGenerator[bytes],
    database: Database,
    kind: AuditKind,
    *,
    of: UUID,
    subject_id: UUID,
    subject_name: str | None = None,
    **details: object,
) -> AsyncGenerator[bytes]:
    """Records a download when it ends, with the number of bytes that the client was sent.

    It concerns the holder of the link, and the owner `of` the bytes only if there is no holder:
    owners of public buckets do not learn who reads them.
    """
    actor = current_actor.get()  # the loop may close this generator in another context
    sent, outcome = 0, AuditOutcome.FAILED
    try:
        async with contextlib.aclosing(chunks):
            async for chunk in chunks:
                yield chunk
                sent += len(chunk)
        outcome = AuditOutcome.SUCCEEDED
    finally:
        # A client that disconnects cancels this task, so another one records it.
        work = _record(
            database,
            kind,
            actor,
            outcome=outcome,
            owner_id=actor.user_id or of,
            subject_id=subject_id,
            subject_name=subject_name,
            details=details | {"bytes": sent},
        )
        task = _recordings.start(work, name="audit: download")
        if outcome == AuditOutcome.SUCCEEDED:
            await asyncio.shield(task)


async def recordings_ended() -> None:
    """Call before the database is closed: a shutdown ends downloads, which are recorded then."""
    await _recordings.wait(RECORD_S)


async def _record(database: Database, kind: AuditKind, actor: Actor, **event: Any) -> None:
    try:
        with acting(actor):
            await record_alone(database, kind, **event)
    except HowdahError as error:  # the bytes are sent
        log.warning("the audit log does not have a download (%s): %s", kind, error.message)


class _Stream(StreamingResponse):
    """Closes the chunks when the client disconnects, not when they are collected as garbage."""

    def __init__(self, chunks: AsyncGenerator[bytes], **options: Any) -> None:
        super().__init__(chunks, **options)
        self._closing = contextlib.aclosing(chunks)

    async def stream_response(self, send: Send) -> None:
        async with self._closing:
            await super().stream_response(send)


async def stream_response(
    chunks: AsyncGenerator[bytes], *, headers: Mapping[str, str], status_code: int = 200
) -> Response:
    """Await the first chunk before sending the status, so that its error becomes a response."""
    first = await anext(chunks, b"")
    return _Stream(_chunks(first, chunks), status_code=status_code, headers=headers)


def json_errors(handler: Handler) -> Handler:
    """Wrap a handler to return errors as GraphQL does, with the HTTP status of their code."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except ClientDisconnect:
            return Response(status_code=400)  # the client has disconnected
        except Exception as error:  # noqa: BLE001 - unexpected errors are logged, masked and returned as JSON
            return error_response(error, request.state.request_id)

    return answer


def error_response(error: Exception, request_id: str, *, status: int | None = None) -> Response:
    """The error as GraphQL presents it; the HTTP status follows from its code unless given."""
    code = error.code if isinstance(error, HowdahError) else HowdahError.code
    status = _STATUS.get(code, 500) if status is None else status
    headers = dict(UNTRUSTED_CONTENT_HEADERS)
    if isinstance(error, HowdahError) and error.retry_after_s is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"  # RFC 9110 requires it
    errors = present_all([error], request_id=request_id)
    return JSONResponse({"errors": errors}, status_code=status, headers=headers)


async def _chunks(first: bytes, rest: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async with contextlib.aclosing(rest):
        yield first
        async for chunk in rest:
            yield chunk

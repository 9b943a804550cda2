"""Streamed bytes and JSON errors for the plain HTTP routes."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TypeAlias

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from db.errors import HowdahError
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


async def stream_response(
    chunks: AsyncIterator[bytes], *, headers: Mapping[str, str], status_code: int = 200
) -> Response:
    """Await the first chunk before sending the status, so that its error becomes a response."""
    first = await anext(chunks, b"")
    return StreamingResponse(_chunks(first, chunks), status_code=status_code, headers=headers)


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
    wait = error.retry_after_s if isinstance(error, HowdahError) else None
    headers = UNTRUSTED_CONTENT_HEADERS | ({} if wait is None else {"Retry-After": f"{wait:.0f}"})
    return JSONResponse(
        {"errors": present_all([error], request_id=request_id)},
        status_code=_STATUS.get(code, 500) if status is None else status,
        headers=headers,
    )


async def _chunks(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk

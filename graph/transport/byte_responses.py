"""How bytes and errors go out over plain HTTP, whatever they are of."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TypeAlias

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from db.errors import HowdahError
from graph.errors import present_all

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]

_STATUS = {
    "BAD_USER_INPUT": 400,
    "FORBIDDEN": 403,
    "NOT_FOUND": 404,
    "TIMEOUT": 408,
    "CONFLICT": 409,
    "TOO_LARGE": 413,
    "OVERLOADED": 503,
    "UNAVAILABLE": 503,
}
# What a user stored is never shown as ours: saved, not opened; and if opened, able to do nothing.
HARMLESS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, no-cache",
    "Referrer-Policy": "no-referrer",
}


async def stream_response(
    pieces: AsyncIterator[bytes], *, headers: Mapping[str, str], status_code: int = 200
) -> Response:
    """Begins when the first piece is there, while there is still time to say that it went wrong."""
    first = await anext(pieces, b"")
    return StreamingResponse(_joined(first, pieces), status_code=status_code, headers=headers)


def json_errors(handler: Handler) -> Handler:
    """Errors go out as they do from GraphQL, under the status that suits their code."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except ClientDisconnect:
            return Response(status_code=400)  # to nobody
        except Exception as error:  # noqa: BLE001 - a bug, too, is answered in JSON; it is logged and masked
            return _refusal(error, request.state.request_id)

    return answer


def _refusal(error: Exception, request_id: str) -> Response:
    code = error.code if isinstance(error, HowdahError) else HowdahError.code
    wait = error.retry_after_s if isinstance(error, HowdahError) else None
    headers = HARMLESS | ({} if wait is None else {"Retry-After": f"{wait:.0f}"})
    return JSONResponse(
        {"errors": present_all([error], request_id=request_id)},
        status_code=_STATUS.get(code, 500),
        headers=headers,
    )


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece

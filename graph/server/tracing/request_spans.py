"""A span of each HTTP request, in the trace of the client if it sends `traceparent`."""

from opentelemetry import propagate
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graph.transport.middleware.request_ids import current_request_id

_UNTRACED = {"/healthz", "/readyz", "/metrics"}
"""Asked every few seconds by machines."""
_ROUTES = (
    "/graphql/sign-in",
    "/graphql/assets",
    "/graphql",
    "/files",
    "/results",
    "/reset-password",
)
"""The rest of a path names a file or contains a secret, so it is in no span."""


class RequestSpans:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _UNTRACED:
            await self._app(scope, receive, send)
            return
        method, route = scope["method"], _route_of(scope["path"])
        attributes = {"http.request.method": method, "url.scheme": scope["scheme"]}
        if route is not None:
            attributes["http.route"] = route
        with self._tracer.start_as_current_span(
            method if route is None else f"{method} {route}",
            context=propagate.extract(_text_headers(scope)),
            kind=SpanKind.SERVER,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:

            async def send_noting_status(message: Message) -> None:
                if message["type"] == "http.response.start":
                    _note_status(span, message["status"])
                await send(message)

            try:
                await self._app(scope, receive, send_noting_status)
            finally:
                span.set_attribute("howdah.request_id", current_request_id.get())


def _note_status(span: Span, status: int) -> None:
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_attribute("error.type", str(status))
        span.set_status(Status(StatusCode.ERROR))


def _route_of(path: str) -> str | None:
    for route in _ROUTES:
        if path == route or path.startswith(f"{route}/"):
            return route
    return None


def _text_headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}

"""Routes for operators: liveness, readiness and metrics."""

import hmac

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from db.settings import Settings
from db.system.condition import examine
from graph.server.metrics import Metrics
from graph.transport.gateway import gateway_of
from graph.transport.middleware.proxies import is_local


async def alive(_: Request) -> Response:
    """Liveness: the event loop responds."""
    return PlainTextResponse("alive\n")


async def ready(request: Request) -> Response:
    """Readiness: whether this replica can serve requests. Responds within about a second.

    What all replicas share, and what stops only a part of them, does not make it red: then no
    replica would serve the rest (docs/replicas.md).
    """
    gateway = gateway_of(request)
    if gateway.shutdown.draining:
        return _not_ready("stopping")
    database, faults = await examine(gateway.services)
    if not database.ok:
        return _not_ready("the database does not answer")
    if not database.migrations_current:
        return _not_ready("the database lacks migrations")
    return PlainTextResponse("\n".join(("degraded" if faults else "ready", *faults)) + "\n")


async def metrics(request: Request) -> Response:
    """Metrics for Prometheus. Without a token, only in development and on this machine."""
    settings = gateway_of(request).services.settings
    if not _may_read_metrics(request, settings):
        return PlainTextResponse(
            "Set HOWDAH_METRICS_TOKEN and send `Authorization: Bearer <token>`.\n",
            status_code=401,
            headers={"WWW-Authenticate": "Bearer"},
        )
    counted: Metrics = request.state.metrics
    text, media_type = counted.page()
    return Response(text, media_type=media_type)


ROUTES = (Route("/healthz", alive), Route("/readyz", ready), Route("/metrics", metrics))


def _may_read_metrics(request: Request, settings: Settings) -> bool:
    if settings.metrics_token is None:  # a proxy of the same machine may add no header
        return settings.development and settings.on_loopback and is_local(request)
    expected = f"Bearer {settings.metrics_token}"
    authorization = request.headers.get("authorization", "")
    return hmac.compare_digest(authorization.encode(), expected.encode())


def _not_ready(why: str) -> Response:
    return PlainTextResponse(f"{why}\n", status_code=503)

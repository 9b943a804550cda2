"""The composition root: what the server is made of, and which address leads where."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import lru_cache
from typing import TypeAlias

import strawberry
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from db.errors import HowdahError
from db.services import Services, open_services
from db.settings import Settings
from graph import bytes as file_bytes
from graph import graphiql
from graph.endpoint import GraphQLEndpoint
from graph.gateway import Authenticate, Gateway
from graph.limits import Limits
from graph.operations import Observe, Operations, Plans
from graph.origins import Origins
from graph.request_id import RequestIds
from graph.shutdown import Shutdown

OpenServices: TypeAlias = Callable[[Settings], AbstractAsyncContextManager[Services]]

READY_WITHIN_S = 2.0


def build_app(
    settings: Settings,
    *,
    schema: strawberry.Schema,
    authenticate: Authenticate,
    open_services: OpenServices = open_services,
    page_headers: Mapping[str, str] | None = None,
) -> Starlette:
    """Howdah over any schema; `page_headers` are GraphiQL's, for browsers on this machine."""
    shutdown = Shutdown()
    origins = Origins(settings.allowed_origins)
    registry = CollectorRegistry()
    observe = _operation_times(registry)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, object]]:
        async with open_services(settings) as services:
            with contextlib.closing(_plans(settings, schema)) as plans:
                gateway = Gateway(
                    services=services,
                    operations=Operations(plans, limits=Limits(), observe=observe),
                    authenticate=authenticate,
                    shutdown=shutdown,
                    origins=origins,
                )
                yield {"gateway": gateway, "registry": registry}

    app = Starlette(
        routes=[
            Mount("/graphql/assets", graphiql.assets()),
            *file_bytes.routes(),
            Route("/healthz", alive),
            Route("/readyz", ready),
            Route("/metrics", metrics),
        ],
        middleware=[
            Middleware(RequestIds),
            *_cross_origin(origins),
            Middleware(GraphQLEndpoint, path="/graphql", page_headers=page_headers),
        ],
        lifespan=lifespan,
    )
    app.state.shutdown = shutdown
    return app


async def alive(_: Request) -> Response:
    """Answer as long as the process can answer at all."""
    return PlainTextResponse("alive\n")


async def ready(request: Request) -> Response:
    """Say whether this replica should get requests."""
    gateway: Gateway = request.state.gateway
    if gateway.shutdown.begun:
        return PlainTextResponse("stopping\n", status_code=503)
    try:
        async with asyncio.timeout(READY_WITHIN_S):
            await gateway.services.database.ping()
    except (HowdahError, OSError, TimeoutError):
        return PlainTextResponse("the database does not answer\n", status_code=503)
    return PlainTextResponse("ready\n")


async def metrics(request: Request) -> Response:
    """Prometheus' text format."""
    return Response(generate_latest(request.state.registry), media_type=CONTENT_TYPE_LATEST)


def _plans(settings: Settings, schema: strawberry.Schema) -> Plans:
    return Plans(
        schema._schema,  # noqa: SLF001 - Strawberry has no public name for graphql-core's schema
        limits=Limits(),
        introspection=settings.introspection_allowed,
        suggestions=settings.development,
    )


def _operation_times(registry: CollectorRegistry) -> Observe:
    seconds = Histogram(
        "howdah_operation_seconds",
        "How long GraphQL operations took, by kind and outcome.",
        ("kind", "outcome"),
        registry=registry,
    )
    child = lru_cache(seconds.labels)  # finding it costs more than counting
    return lambda kind, outcome, elapsed: child(kind, outcome).observe(elapsed)


def _cross_origin(origins: Origins) -> list[Middleware]:
    """Pages of listed origins may call us; there are no cookies, so nobody else needs a word."""
    if not origins.listed:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=origins.listed,
            allow_methods=("GET", "POST", "PUT"),
            allow_headers=("*",),
            expose_headers=("X-Request-Id", "Retry-After"),
            max_age=600,
        )
    ]

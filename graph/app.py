"""The composition root: assembles the services, the GraphQL endpoint and the routes."""

import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, TypeAlias

import strawberry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from db.client_networks import network_of
from db.concurrency.waiting import in_background
from db.errors import NotFound
from db.services import Services, open_services
from db.settings import Settings
from db.users import CostAllowance
from graph.context import address_of
from graph.operations import Documents, ListedDocuments, Operations, Plans
from graph.operations.limits import RequestLimits
from graph.server import probes
from graph.server.audit_stream import streaming_audit_log
from graph.server.metrics import Metrics
from graph.server.metrics.loop_lag import LoopLag
from graph.server.metrics.samples import Process, samples_of
from graph.server.observer import OperationObserver
from graph.server.operation_log import OperationLog
from graph.server.tracing import Traces
from graph.transport import graphiql, http, websocket
from graph.transport.files import file_routes, result_routes
from graph.transport.files.byte_responses import json_errors, recordings_ended
from graph.transport.gateway import Authenticate, Gateway, Shutdown
from graph.transport.limits.socket_limit import SocketLimit
from graph.transport.middleware.https_policy import HttpsPolicy
from graph.transport.middleware.origins import CrossOrigin, Origins
from graph.transport.middleware.proxies import ProxyWarning
from graph.transport.middleware.request_ids import RequestIds
from graph.transport.middleware.seen_header import with_seen_header
from graph.transport.routes import password_reset, schema_route, sign_in

OpenServices: TypeAlias = Callable[[Settings], AbstractAsyncContextManager[Services]]


class GraphQLEndpoint:
    """`/graphql`: the page for a browser, else the API, over HTTP and WebSocket."""

    def __init__(self, *, with_page: bool) -> None:
        self._sockets = RequestIds(websocket.serve)
        self._pages = RequestIds(_page if with_page else _no_page)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._sockets(scope, receive, send)
        elif scope["method"] != "POST" and _wants_page(scope):
            await self._pages(scope, receive, send)
        else:
            await http.serve(scope, receive, send)


class Application(Starlette):
    """Starlette, except for /graphql: its middleware takes a fifth of the time of a small query."""

    def __init__(
        self,
        *,
        graphql: ASGIApp,
        proxy_warning: ProxyWarning | None,
        https_policy: HttpsPolicy | None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._https_policy = https_policy
        self._graphql = graphql
        self._proxy_warning = proxy_warning

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        headers = dict(scope.get("headers", ()))  # the lifespan has none
        if self._proxy_warning is not None:
            self._proxy_warning.check(headers)
        if self._https_policy is not None:
            send = self._https_policy.sender(scope, send)
        if _is_operation(scope) and b"origin" not in headers:
            # It is no page of another origin: CrossOrigin has nothing to do.
            return http.serve(scope, receive, send, headers)
        return self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan" and not _is_operation(scope):
            gateway: Gateway = scope["state"]["gateway"]
            await gateway.turns.wait(network_of(address_of(scope)))
            standbys = gateway.services.standbys
            if standbys is not None and scope["type"] == "http" and scope["path"] != "/graphql":
                send = with_seen_header(standbys, scope, send)
        if scope.get("path") == "/graphql":
            await self._graphql(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def build_app(
    settings: Settings,
    *,
    schema: strawberry.Schema,
    authenticate: Authenticate,
    open_services: OpenServices = open_services,
    worker: bool = False,
    traces: Traces | None = None,
) -> Starlette:
    """Build the ASGI application for a schema. A worker publishes its metrics to the others."""
    make_operations = traces.operations if traces else Operations
    shutdown = Shutdown()
    origins = Origins(
        settings.allowed_origins, loopback=settings.development, public_url=settings.public_url
    )
    listed = read_listed_documents(settings)
    documents = Documents(listed, only_listed=settings.trusts_listed_documents_only)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, object]]:
        watching = in_background(listed.watch(), name="documents") if listed else nullcontext()
        async with open_services(settings) as services, watching:
            shutdown.on_begin = services.stop_timer.begin
            with contextlib.closing(_plans(settings, schema)) as plans:
                operations, metrics, lag = _operations(
                    make_operations, services, plans, documents, shutdown
                )
                gateway = Gateway(
                    services=services,
                    operations=operations,
                    authenticate=authenticate,
                    shutdown=shutdown,
                    origins=origins,
                    anonymous_sockets=SocketLimit(settings.address_sockets),
                    user_sockets=SocketLimit(settings.user_sockets),
                )
                streams = http.ReservedStreams()
                async with _publishing(services, metrics if worker else None, lag):
                    yield {"gateway": gateway, "metrics": metrics, "streams": streams}

    app = Application(
        graphql=CrossOrigin(GraphQLEndpoint(with_page=settings.serves_graphiql), origins=origins),
        proxy_warning=ProxyWarning(settings) if _expects_no_proxy(settings) else None,
        https_policy=HttpsPolicy.of(settings),
        routes=_routes(settings, schema),
        middleware=[Middleware(RequestIds), Middleware(CrossOrigin, origins=origins)],
        lifespan=lifespan,
    )
    app.state.shutdown = shutdown
    return app


def _routes(settings: Settings, schema: strawberry.Schema) -> list[BaseRoute]:
    """All routes except /graphql itself."""
    return [
        schema_route.route(schema, allowed=settings.introspection_allowed),
        *_graphiql_routes(settings),
        *sign_in.routes(),
        *password_reset.routes(),
        *file_routes.routes(),
        *result_routes.routes(),
        *probes.ROUTES,
    ]


def read_listed_documents(settings: Settings) -> ListedDocuments | None:
    """The documents that the operator lists.

    Raises:
        BadInput: the list cannot be read, or is faulty.
    """
    if settings.documents_path is None:
        return None
    listed = ListedDocuments(settings.documents_path)
    listed.load()
    return listed


@contextlib.asynccontextmanager
async def _publishing(
    services: Services, metrics: Metrics | None, lag: LoopLag
) -> AsyncIterator[None]:
    """Streams the audit log to its last record, and the metrics of a worker to the others."""
    with lag.measured():
        async with (
            in_background(metrics.keep_publishing(), name="metrics") if metrics else nullcontext(),
            streaming_audit_log(services.database, services.settings.audit_log),
        ):
            yield
            await recordings_ended()


def _operations(
    make: type[Operations],
    services: Services,
    plans: Plans,
    documents: Documents,
    shutdown: Shutdown,
) -> tuple[Operations, Metrics, LoopLag]:
    """The operations, and what counts them."""
    limit, lag = services.settings.cost_per_minute, LoopLag()
    metrics = Metrics(lambda: samples_of(process))
    observer = OperationObserver(OperationLog.of(services.settings))
    operations = make(
        plans,
        limits=RequestLimits(),
        documents=documents,
        allowance=CostAllowance(services.database, limit) if limit else None,
        observer=observer,
    )
    process = Process(services, plans, operations, observer, shutdown, lag)
    return operations, metrics, lag


def _is_operation(scope: Scope) -> bool:
    """Whether it is admitted by its user (graph.operations)."""
    return scope.get("method") == "POST" and scope["path"] == "/graphql"


def _expects_no_proxy(settings: Settings) -> bool:
    return settings.development or not settings.trusted_proxies


def _plans(settings: Settings, schema: strawberry.Schema) -> Plans:
    return Plans(
        schema._schema,  # noqa: SLF001 - Strawberry has no public name for graphql-core's schema
        limits=RequestLimits(),
        introspection=settings.introspection_allowed,
        suggestions=settings.development,
    )


def _graphiql_routes(settings: Settings) -> list[BaseRoute]:
    if not settings.serves_graphiql:
        return [Route("/", json_errors(_without_page))]
    return [Route("/", json_errors(_home)), Mount("/graphql/assets", graphiql.assets())]


async def _home(request: Request) -> Response:
    """Leads a browser to GraphiQL."""
    if _wants_page(request.scope):
        return RedirectResponse("graphql")  # relative, so that the prefix of a proxy stays
    raise NotFound("There is nothing at this path.", hint="The API is at /graphql.")


async def _page(scope: Scope, receive: Receive, send: Send) -> None:
    response = await graphiql.page(Request(scope, receive))
    await response(scope, receive, send)


async def _no_page(scope: Scope, receive: Receive, send: Send) -> None:
    response = await json_errors(_without_page)(Request(scope, receive))
    await response(scope, receive, send)


async def _without_page(_: Request) -> Response:
    raise NotFound(
        "GraphiQL is switched off on this server.",
        hint="Send operations to /graphql by POST. HOWDAH_GRAPHIQL=true switches it on.",
    )


def _wants_page(scope: Scope) -> bool:
    return scope["method"] in {"GET", "HEAD"} and (
        http.accept(dict(scope["headers"]).get(b"accept")).page
    )

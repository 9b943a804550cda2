"""`/graphql`: GraphiQL for browsers, the API over HTTP and WebSocket."""

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from graph.transport import graphiql, http, websocket
from graph.transport.request_ids import RequestIds


class GraphQLEndpoint:
    """Dispatches a request to the page, the HTTP handler or the WebSocket handler."""

    def __init__(self) -> None:
        self._sockets = RequestIds(websocket.serve)
        self._pages = RequestIds(_page)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._sockets(scope, receive, send)
        elif scope["method"] != "POST" and _wants_page(scope):
            await self._pages(scope, receive, send)
        else:
            await http.serve(scope, receive, send)


async def _page(scope: Scope, receive: Receive, send: Send) -> None:
    response = await graphiql.page(Request(scope, receive))
    await response(scope, receive, send)


def _wants_page(scope: Scope) -> bool:
    return scope["method"] in {"GET", "HEAD"} and (
        http.accept(dict(scope["headers"]).get(b"accept")).page
    )

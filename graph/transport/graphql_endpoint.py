"""`/graphql`: the page for a browser, the API for everybody else, over HTTP and WebSocket."""

from collections.abc import Awaitable, Callable, Mapping
from ipaddress import ip_address
from typing import TypeAlias
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from graph.transport import graphiql, http, websocket
from graph.transport.request_ids import RequestIds

PageHeaders: TypeAlias = Callable[[], Awaitable[Mapping[str, str]]]
"""What GraphiQL sends along, made anew for each page: a token in it does not last."""


class GraphQLEndpoint:
    """`/graphql`, whatever it is asked for."""

    def __init__(self, *, page_headers: PageHeaders | None = None) -> None:
        self._page_headers = page_headers
        self._sockets = RequestIds(websocket.serve)
        self._pages = RequestIds(self._page)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._sockets(scope, receive, send)
        elif scope["method"] != "POST" and _wants_page(scope):
            await self._pages(scope, receive, send)
        else:
            await http.serve(scope, receive, send)

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GraphiQL. Its headers may sign the reader in, so they stay on this machine."""
        request = Request(scope, receive)
        headers = None
        if self._page_headers is not None and _is_loopback(request.headers.get("host", "")):
            headers = await self._page_headers()
        response = await graphiql.page(request, default_headers=headers)
        await response(scope, receive, send)


def _wants_page(scope: Scope) -> bool:
    return scope["method"] in {"GET", "HEAD"} and (
        http.accept(dict(scope["headers"]).get(b"accept")).page
    )


def _is_loopback(host: str) -> bool:
    """Judge by the name the browser used: a foreign name that leads here is an attack."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False

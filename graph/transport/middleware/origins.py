"""Checks the `Origin` of web pages, and answers them by the CORS protocol.

Allowed are the server's own origin, those that the operator lists, and in development every origin
on this machine.

A page of any site can let its own name lead to this machine (DNS rebinding): its origin is then the
host of the request. A development server, where everyone may sign up and connect to the databases
of its networks, is its own origin only under names that no stranger can register.
"""

import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from db.errors import BadInput, Forbidden
from graph.errors import present_all
from graph.transport.middleware.request_ids import current_request_id, new_request_id

_ORIGIN = re.compile(r"https?://[^/?#@\s*]+")
_LOOPBACK = re.compile(r"https?://(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?")
_NOT_REGISTERED = re.compile(  # addresses, names without a dot, and those of RFC 6761 and 6762
    r"(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-f:.]+\]|[a-z0-9_-]+"
    r"|[a-z0-9._-]+\.(localhost|local|test|internal))(:\d{1,5})?"
)
_EXPOSED_HEADERS = (
    "X-Request-Id",
    "Retry-After",
    "ETag",
    "Accept-Ranges",
    "Content-Range",
    "Content-Disposition",
    "Howdah-Seen",
    "Location",
    "Tus-Checksum-Algorithm",
    "Tus-Extension",
    "Tus-Resumable",
    "Tus-Version",
    "Upload-Expires",
    "Upload-Length",
    "Upload-Offset",
)


class Origins:
    def __init__(
        self, listed: str, *, loopback: bool = False, public_url: str | None = None
    ) -> None:
        """With `loopback`, every page of this machine is allowed, and names are distrusted."""
        names = listed.replace(",", " ").split()
        self._listed = {name.rstrip("/").lower() for name in names}
        self._loopback = loopback
        self._public_host = urlsplit(public_url or "").netloc.lower()
        for name in self._listed:
            if not _ORIGIN.fullmatch(name):
                raise BadInput(
                    f"HOWDAH_ALLOWED_ORIGINS contains {name!r}, which is not an origin.",
                    hint="List origins such as https://app.example.com, separated by commas.",
                )

    def is_listed(self, origin: str) -> bool:
        """Whether pages of another origin than the server's may read responses."""
        name = origin.lower()
        return name in self._listed or (self._loopback and bool(_LOOPBACK.fullmatch(name)))

    def is_listed_by_name(self, origin: str) -> bool:
        """Whether HOWDAH_ALLOWED_ORIGINS contains the origin: only then may it use cookies."""
        return origin.lower() in self._listed

    def allow(self, headers: dict[bytes, bytes]) -> bool:
        """Whether the `Origin` header is absent or allowed."""
        origin = headers.get(b"origin")
        if origin is None:
            return True
        name = origin.decode("latin-1").lower()
        return self.is_listed(name) or (_is_host(name, headers) and self.knows_host(headers))

    def knows_host(self, headers: dict[bytes, bytes]) -> bool:
        """False if the page of a stranger may have been led here by its own name."""
        host = headers.get(b"host", b"").decode("latin-1").lower()
        is_known = host == self._public_host or _NOT_REGISTERED.fullmatch(host) is not None
        return is_known or not self._loopback

    def may_use_cookie(self, headers: dict[bytes, bytes]) -> bool:
        """Whether a page of the server's own origin, or of a listed one, sent the request.

        The other origins of this machine that development allows may not: any program there can
        serve a page.
        """
        name = headers.get(b"origin", b"").decode("latin-1").lower()
        if not name:
            return False
        site = headers.get(b"sec-fetch-site")
        own = _is_host(name, headers) if site is None else site == b"same-origin"
        return own or self.is_listed_by_name(name)


def _is_host(origin: str, headers: dict[bytes, bytes]) -> bool:
    """Whether the origin is the host of the request.

    A proxy that terminates TLS hides the scheme of the page, so only the host is compared.
    """
    host = headers.get(b"host", b"").decode("latin-1").lower()
    return origin in {f"http://{host}", f"https://{host}"}


class CrossOrigin(CORSMiddleware):
    """CORS for the allowed origins; a page of any other one gets an error that names the setting.

    The only cookie is the refresh cookie, which checks the origin itself. So a foreign page has no
    more rights than any other client; it is refused because its developer would otherwise see
    nothing but an empty response.
    """

    def __init__(self, app: ASGIApp, *, origins: Origins) -> None:
        super().__init__(
            app,
            allow_methods=("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "QUERY"),
            allow_headers=("*",),
            expose_headers=_EXPOSED_HEADERS,
            max_age=600,
        )
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path") == "/graphql" and b"origin" not in dict(scope["headers"]):
            await self.app(scope, receive, send)  # the fast path: no cache keeps these responses
        else:
            await super().__call__(scope, receive, send)

    def is_allowed_origin(self, origin: str) -> bool:
        return self._origins.is_listed(origin)

    def preflight_response(self, request_headers: Headers) -> Response:
        if not self.is_allowed_origin(request_headers["origin"]):
            return refused_origin(request_headers["origin"])
        response = super().preflight_response(request_headers)
        self._allow_credentials(response.headers, request_headers["origin"])
        return response

    async def send(self, message: Message, send: Send, request_headers: Headers) -> None:
        if message["type"] == "http.response.start" and "origin" in request_headers:
            message.setdefault("headers", [])
            self._allow_credentials(MutableHeaders(scope=message), request_headers["origin"])
        await super().send(message, send, request_headers)

    def _allow_credentials(self, headers: MutableHeaders, origin: str) -> None:
        """Allows an origin that the operator has named to send the refresh cookie."""
        if self._origins.is_listed_by_name(origin):
            headers["Access-Control-Allow-Credentials"] = "true"

    async def simple_response(
        self, scope: Scope, receive: Receive, send: Send, request_headers: Headers
    ) -> None:
        # `Sec-Fetch-Site` cannot be set by a page; it is right behind a proxy that changes `Host`.
        same = request_headers.get("sec-fetch-site") == "same-origin"
        headers = dict(scope["headers"])
        if (same and self._origins.knows_host(headers)) or self._origins.allow(headers):
            await super().simple_response(scope, receive, send, request_headers)
        else:
            await refused_origin(request_headers["origin"])(scope, receive, send)


def refused_origin(origin: str) -> Response:
    """The response to a page of an origin that is not allowed."""
    error = Forbidden(
        f"Pages of the origin {origin[:200]} may not call this server.",
        hint="Add the origin to HOWDAH_ALLOWED_ORIGINS and restart the server.",
    )
    request_id = current_request_id.get() or new_request_id()
    return JSONResponse(
        {"errors": present_all([error], request_id=request_id)},
        status_code=403,
        headers={"Vary": "Origin", "Cache-Control": "no-store"},
    )

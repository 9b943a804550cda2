"""The refresh token of a browser, in a cookie that no script can read (decision 20).

A second cookie has the mark of the device (decision 37).

The cookie is set and read only for a page that may use it: one of the server's own origin, or of an
origin in HOWDAH_ALLOWED_ORIGINS on the same site. A page of another site, a form and a request
without `Origin` are refused, whether or not the browser sends the cookie.
"""

from starlette.types import Scope

from db.errors import BadInput, Forbidden
from db.users import DEVICE_MARK_LIFE_S
from graph.transport.middleware.origins import Origins

_REFRESH = b"howdah-refresh"
_DEVICE = b"howdah-device"
_HOST_PREFIX = b"__Host-"


class RefreshCookie:
    """The cookie of one request and its response: `graph.context.RefreshCookie` over HTTP."""

    __slots__ = ("_headers", "_origins", "_scope", "response_headers")

    def __init__(self, scope: Scope, headers: dict[bytes, bytes], origins: Origins) -> None:
        self._scope = scope
        self._headers = headers
        self._origins = origins
        self.response_headers: tuple[tuple[bytes, bytes], ...] = ()

    def require_allowed(self) -> None:
        origin = self._headers.get(b"origin", b"").decode("latin-1")
        if not origin:
            raise Forbidden(
                "The refresh cookie requires an Origin header, which browsers send.",
                hint="Other clients pass `refreshToken` instead, and omit `cookie`.",
            )
        if self._headers.get(b"sec-fetch-site") == b"cross-site":
            raise Forbidden(
                f"The origin {origin[:200]} is not on the site of this server, so browsers do not "
                "send it the refresh cookie.",
                hint="Serve the page and the API under one host name (`localhost` and `127.0.0.1` "
                "are two), or pass `refreshToken` instead of the cookie.",
            )
        if not self._origins.may_use_cookie(self._headers):
            raise Forbidden(
                f"Pages of the origin {origin[:200]} may not use the refresh cookie.",
                hint="Add the origin to HOWDAH_ALLOWED_ORIGINS and restart the server, or pass "
                "`refreshToken` instead of the cookie.",
            )

    def read(self) -> str:
        self.require_allowed()
        if (token := self._value(_REFRESH)) is not None:
            return token
        raise BadInput(
            "The request has neither `refreshToken` nor the refresh cookie.",
            hint="Sign in with `cookie: true` and send requests with credentials (`credentials: "
            '"include"` of `fetch`), or pass `refreshToken`.',
            field="refreshToken",
        )

    def write(self, token: str, *, seconds: int) -> None:
        self._set(_REFRESH, token.encode(), seconds)

    def clear(self) -> None:
        self._set(_REFRESH, b"", 0)

    def read_device(self) -> str | None:
        """The mark of this device, which stays after sign-out."""
        self.require_allowed()
        return self._value(_DEVICE)

    def write_device(self, mark: str) -> None:
        self._set(_DEVICE, mark.encode(), DEVICE_MARK_LIFE_S)

    def _value(self, name: bytes) -> str | None:
        for pair in self._headers.get(b"cookie", b"").split(b";"):
            found, _, value = pair.strip().partition(b"=")
            if found == self._full(name) and value:
                return value.decode("latin-1")
        return None

    def _set(self, name: bytes, value: bytes, seconds: int) -> None:
        attributes = b"; Max-Age=%d; HttpOnly; SameSite=Strict; " % seconds
        # `__Host-` excludes a cookie that another host of the site has set; it requires the path /.
        # Without TLS every port of a host shares the cookies, so that the path limits who gets it.
        place = b"Path=/; Secure" if self._is_secure else b"Path=/graphql"
        cookie = self._full(name) + b"=" + value + attributes + place
        self.response_headers = (*self.response_headers, (b"set-cookie", cookie))

    def _full(self, name: bytes) -> bytes:
        return _HOST_PREFIX + name if self._is_secure else name

    @property
    def _is_secure(self) -> bool:
        """Whether the page uses TLS. Its origin says so even behind an untrusted proxy."""
        origin = self._headers.get(b"origin", b"")
        return self._scope.get("scheme") == "https" or origin.startswith(b"https://")

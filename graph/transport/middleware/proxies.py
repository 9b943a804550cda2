"""Forwarded requests: what trusted proxies say of them, and which come from this machine."""

import logging
import re
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from db.settings import Settings
from graph.context import FORWARDED_HOST

log = logging.getLogger(__name__)

_NAMES = frozenset(
    {
        b"forwarded",
        b"via",
        b"x-real-ip",
        b"x-client-ip",
        b"true-client-ip",
        b"cf-connecting-ip",
    }
)
_PREFIX = b"x-forwarded"


# A name or an address, with or without a port.
_HOST = re.compile(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")


class TrustedProxies(ProxyHeadersMiddleware):
    """Takes the client's address, the scheme and the host from trusted proxies only.

    uvicorn's class takes the first two. Of several hosts the last counts, which the nearest proxy
    has added: the client may have sent the others.
    """

    def __init__(self, app: ASGIApp, proxies: str) -> None:
        super().__init__(app, trusted_hosts=proxies)  # type: ignore[arg-type]  # uvicorn has types of its own for ASGI

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # type: ignore[override]  # as above
        if scope["type"] != "lifespan":
            peer = scope.get("client")
            host = _forwarded_host(scope) if peer and peer[0] in self.trusted_hosts else None
            if host is not None:
                scope[FORWARDED_HOST] = host
        await super().__call__(scope, receive, send)  # type: ignore[arg-type]  # as above


def _forwarded_host(scope: Scope) -> str | None:
    """The last `X-Forwarded-Host`, or None if there is none or it is not a host."""
    values = [value for name, value in scope["headers"] if name == b"x-forwarded-host"]
    host = values[-1].decode("latin-1").rpartition(",")[2].strip() if values else ""
    return host if _HOST.fullmatch(host) else None


def forwarding_header(headers: Mapping[bytes, bytes]) -> str | None:
    """The name of the first forwarding header, or None. Takes 0.2 us: each request calls it."""
    for name in headers:
        # The comparison excludes most names in a third of the time of `startswith`.
        if name in _NAMES or (name >= _PREFIX and name.startswith(_PREFIX)):
            return name.decode("latin-1")
    return None


def is_local(request: Request) -> bool:
    """Whether a program on this machine sent the request to this machine, without a proxy."""
    client, host = request.client, request.headers.get("host", "")
    return (
        forwarding_header(dict(request.scope["headers"])) is None
        and client is not None
        and _is_loopback(client.host)
        and _is_loopback(_name_of(host))
    )


def _name_of(host: str) -> str:
    """The `Host` header without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(name: str) -> bool:
    """Other names are not resolved: a foreign name that leads here is a DNS rebinding attack."""
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


_DEVELOPMENT_WARNING = (
    "A PROXY FORWARDS REQUESTS TO THIS DEVELOPMENT SERVER (header %s). Sign-up and introspection "
    "are open to every caller of the proxy. Set HOWDAH_ENV=production, HOWDAH_SECRET_KEY and "
    "HOWDAH_CREDENTIAL_KEY, and name the proxy in HOWDAH_TRUSTED_PROXIES; docs/operating.md has "
    "the details."
)
_UNTRUSTED_WARNING = (
    "A proxy that is not trusted forwards requests (header %s): all its callers share one address "
    "and its limits. Name the proxy in HOWDAH_TRUSTED_PROXIES; docs/operating.md has the details."
)


class ProxyWarning:
    """Warns once per process that a server stands behind a proxy without being set up for it."""

    def __init__(self, settings: Settings) -> None:
        self._text = _DEVELOPMENT_WARNING if settings.development else _UNTRUSTED_WARNING
        self._warned = False

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        if not self._warned and (name := forwarding_header(headers)) is not None:
            self._warned = True
            log.warning(self._text, name)

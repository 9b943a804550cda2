"""Whether a proxy forwarded a request, or it comes from this machine."""

import logging
from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.types import Scope

from db.settings import Settings

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


def forwarding_header(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The name of the first forwarding header, or None."""
    for name, _ in headers:
        if name in _NAMES or name.startswith(b"x-forwarded"):
            return name.decode("latin-1")
    return None


def is_local(request: Request) -> bool:
    """Whether a program on this machine sent the request to this machine, without a proxy."""
    client, host = request.client, request.headers.get("host", "")
    return (
        forwarding_header(request.scope["headers"]) is None
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

    def check(self, scope: Scope) -> None:
        if self._warned:
            return
        name = forwarding_header(scope.get("headers", ()))
        if name is None:
            return
        self._warned = True
        log.warning(self._text, name)

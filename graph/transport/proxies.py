"""Detects requests that a proxy forwarded."""

import logging
from collections.abc import Iterable

from starlette.types import Scope

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


class ProxyWarning:
    """Warns once per process that a development server is behind a proxy."""

    def __init__(self) -> None:
        self._warned = False

    def check(self, scope: Scope) -> None:
        if self._warned:
            return
        name = forwarding_header(scope.get("headers", ()))
        if name is None:
            return
        self._warned = True
        log.warning(
            "A PROXY FORWARDS REQUESTS TO THIS DEVELOPMENT SERVER (header %s). It is not secured "
            "for that: sign-up and introspection are open to every client of the proxy. "
            "Set HOWDAH_ENV=production, HOWDAH_SECRET_KEY and HOWDAH_CREDENTIAL_KEY, and name the "
            "proxy in FORWARDED_ALLOW_IPS; see docs/operating.md.",
            name,
        )

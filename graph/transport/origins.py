"""Which web pages may talk to us: those of our own origin, and those the operator lists."""

import re

from db.errors import BadInput

_ORIGIN = re.compile(r"https?://[^/?#@\s*]+")


class Origins:
    """The listed origins."""

    def __init__(self, listed: str) -> None:
        names = listed.replace(",", " ").split()
        self.listed = tuple(name.rstrip("/").lower() for name in names)
        for name in self.listed:
            if not _ORIGIN.fullmatch(name):
                raise BadInput(
                    f"HOWDAH_ALLOWED_ORIGINS has {name!r}, which is no origin.",
                    hint="List origins such as https://app.example.com, separated by commas.",
                )

    def allow(self, headers: dict[bytes, bytes]) -> bool:
        """Whether a request with these headers comes from a page that may, or from no page."""
        origin = headers.get(b"origin")
        if origin is None:
            return True
        name = origin.decode("latin-1").lower()
        # Behind a proxy that ends TLS our own scheme is not the page's: the host has to do.
        host = headers.get(b"host", b"").decode("latin-1").lower()
        return name in self.listed or name in {f"http://{host}", f"https://{host}"}

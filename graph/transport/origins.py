"""Checks the `Origin` of web pages: the server's own origin, and those that the operator lists."""

import re

from db.errors import BadInput

_ORIGIN = re.compile(r"https?://[^/?#@\s*]+")


class Origins:
    def __init__(self, listed: str) -> None:
        names = listed.replace(",", " ").split()
        self.listed = tuple(name.rstrip("/").lower() for name in names)
        for name in self.listed:
            if not _ORIGIN.fullmatch(name):
                raise BadInput(
                    f"HOWDAH_ALLOWED_ORIGINS contains {name!r}, which is not an origin.",
                    hint="List origins such as https://app.example.com, separated by commas.",
                )

    def allow(self, headers: dict[bytes, bytes]) -> bool:
        """Whether the `Origin` header is absent or allowed."""
        origin = headers.get(b"origin")
        if origin is None:
            return True
        name = origin.decode("latin-1").lower()
        # A proxy that terminates TLS hides the scheme of the page, so only the host is compared.
        host = headers.get(b"host", b"").decode("latin-1").lower()
        return name in self.listed or name in {f"http://{host}", f"https://{host}"}

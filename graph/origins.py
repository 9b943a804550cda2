"""Which web pages may talk to us: those of our own origin, and those the operator lists."""

from urllib.parse import urlsplit

from db.errors import BadInput


class Origins:
    """The listed origins."""

    def __init__(self, listed: str) -> None:
        names = listed.replace(",", " ").split()
        self.listed = tuple(name.rstrip("/").lower() for name in names)
        for name in self.listed:
            if urlsplit(name).scheme not in {"http", "https"} or not urlsplit(name).netloc:
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
        return name in self.listed or urlsplit(name).netloc == _host(headers)


def _host(headers: dict[bytes, bytes]) -> str:
    return headers.get(b"host", b"").decode("latin-1").lower()

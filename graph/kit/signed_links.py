"""Signed links, which permit one HTTP method on one path until they expire, without a session."""

import base64
import hmac
import time
from collections.abc import Mapping
from datetime import timedelta

from db.errors import Forbidden
from db.security.keys import Keys


class Links:
    """Signs paths of this server and verifies them."""

    def __init__(self, keys: Keys) -> None:
        self._key = keys.secret.derive("links")

    def sign(self, method: str, path: str, *, expires_in: timedelta) -> str:
        """Appends the expiry time and the signature to `path`. Valid for `method` only."""
        expires = str(int(time.time() + expires_in.total_seconds()))
        return f"{path}?expires={expires}&signature={self._signature(method, path, expires)}"

    def check(self, method: str, path: str, query: Mapping[str, str]) -> None:
        """Verifies a link.

        Raises:
            Forbidden: The signature does not match the method and path, or the link has expired.
        """
        expires = query.get("expires", "")
        expected = self._signature(method, path, expires)
        if not hmac.compare_digest(expected.encode(), query.get("signature", "").encode()):
            raise Forbidden(
                "The signature of this link is not valid.",
                hint="Use the complete URL unchanged, as returned by this server.",
            )
        if int(expires) < time.time():
            raise Forbidden("This link has expired.", hint="Request a new link from this server.")

    def _signature(self, method: str, path: str, expires: str) -> str:
        signed = hmac.digest(self._key, f"{method}\n{path}\n{expires}".encode(), "sha256")
        return base64.urlsafe_b64encode(signed).rstrip(b"=").decode()

"""Links that need no session: whoever holds one may do one thing with one address, for a while."""

import base64
import hmac
import time
from collections.abc import Mapping
from datetime import timedelta

from db.errors import Forbidden
from db.security.keys import Keys


class Links:
    """Signs addresses of our own, and knows them again."""

    def __init__(self, keys: Keys) -> None:
        self._key = keys.secret.derive("links")

    def sign(self, method: str, path: str, *, expires_in: timedelta) -> str:
        """The address with its signature, good for `method` alone."""
        expires = str(int(time.time() + expires_in.total_seconds()))
        return f"{path}?expires={expires}&signature={self._signature(method, path, expires)}"

    def check(self, method: str, path: str, query: Mapping[str, str]) -> None:
        """Raises when the link is not one of ours for this, or has had its time."""
        expires = query.get("expires", "")
        expected = self._signature(method, path, expires)
        if not hmac.compare_digest(expected.encode(), query.get("signature", "").encode()):
            raise Forbidden(
                "This link is not one of this server's.",
                hint="Take it as it came from `uploadUrl` or `downloadUrl`, and all of it.",
            )
        if int(expires) < time.time():
            raise Forbidden("This link has expired.", hint="Ask for a new one.")

    def _signature(self, method: str, path: str, expires: str) -> str:
        signed = hmac.digest(self._key, f"{method}\n{path}\n{expires}".encode(), "sha256")
        return base64.urlsafe_b64encode(signed).rstrip(b"=").decode()

"""Signed links, which permit one HTTP method on one path until they expire or their session ends.

A link needs no access token: browsers follow it as it is.
"""

import base64
import hmac
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from db.errors import Forbidden
from db.security.keys import Keys
from graph.context import Context


class LinkHolder(NamedTuple):
    """The user, and the session or the access token, that a link was made for."""

    user_id: UUID
    session_id: UUID | None
    """None for an access token, and for users of an external issuer."""
    token_id: UUID | None = None

    @classmethod
    def parse(cls, text: str) -> "LinkHolder":
        user, session, token, *_ = (*text.split("-"), "", "")
        return cls(
            UUID(hex=user),
            UUID(hex=session) if session else None,
            UUID(hex=token) if token else None,
        )

    def __str__(self) -> str:
        session = self.session_id.hex if self.session_id else ""
        token = f"-{self.token_id.hex}" if self.token_id else ""
        return f"{self.user_id.hex}-{session}{token}"


class Links:
    """Signs paths of this server and verifies them."""

    def __init__(self, keys: Keys) -> None:
        self._key = keys.secret.derive("links")

    def sign(
        self,
        method: str,
        path: str,
        *,
        expires_in: timedelta,
        holder: LinkHolder | None = None,
    ) -> str:
        """Appends expiry, holder and signature to `path`. Valid for `method` only."""
        expires = str(int(time.time() + expires_in.total_seconds()))
        held = "" if holder is None else str(holder)
        signature = self._signature(method, path, expires, held)
        for_holder = f"&for={held}" if held else ""
        return f"{path}?expires={expires}{for_holder}&signature={signature}"

    def check(self, method: str, path: str, query: Mapping[str, str]) -> LinkHolder | None:
        """Verifies a link and returns its holder, whose session the caller has to check.

        Raises:
            Forbidden: The signature does not match the method and path, or the link has expired.
        """
        expires, held = query.get("expires", ""), query.get("for", "")
        expected = self._signature(method, path, expires, held)
        is_signed = hmac.compare_digest(expected.encode(), query.get("signature", "").encode())
        # The parts of the signed text are told apart by their characters: no other cut is a link.
        if not is_signed or not (expires.isascii() and expires.isdecimal()):
            raise Forbidden(
                "The signature of this link is not valid.",
                hint="Use the complete URL unchanged, as returned by this server.",
            )
        if int(expires) < time.time():
            raise Forbidden("This link has expired.", hint="Request a new link from this server.")
        return LinkHolder.parse(held) if held else None

    def _signature(self, method: str, path: str, expires: str, held: str) -> str:
        text = "\n".join((method, path, expires, held) if held else (method, path, expires))
        signed = hmac.digest(self._key, text.encode(), "sha256")
        return base64.urlsafe_b64encode(signed).rstrip(b"=").decode()


def sign_link(context: Context, method: str, path: str, *, expires_in: timedelta) -> str:
    """An absolute link of the viewer, which ends with their session or access token."""
    viewer = context.signed_in
    holder = LinkHolder(viewer.id, viewer.session_id, viewer.token_id)
    links = Links(context.services.keys)
    return context.base_url + links.sign(method, path, expires_in=expires_in, holder=holder)

"""Marks of devices that have signed in: an attacker who locks an account does not lock them.

A mark is a nonce and a time with a MAC over both and the account. The server stores none: it counts
the wrong passwords of a mark apart from those of the account (decision 37).
"""

import base64
import binascii
import hmac
import os
import time

LIFE_S = 400 * 86_400
"""The longest that browsers keep a cookie. A mark is renewed by a sign-in after half of it."""

_NONCE_BYTES = 14
_TIME_BYTES = 4
_MAC_BYTES = 18
_BYTES = _NONCE_BYTES + _TIME_BYTES + _MAC_BYTES
"""A multiple of 3, so that base64 has no padding."""


class DeviceMarks:
    def __init__(self, key: bytes) -> None:
        self._key = key

    def make(self, email: str) -> str:
        body = os.urandom(_NONCE_BYTES) + int(time.time()).to_bytes(_TIME_BYTES, "big")
        return base64.urlsafe_b64encode(body + self._code(body, email)).decode()

    def is_of(self, mark: str | None, email: str, *, life_s: float = LIFE_S) -> bool:
        """Whether the mark was made for this account, at most `life_s` ago.

        Any other length is refused: the MAC covers the body and the address without a separator, so
        a longer body could take over the first letters of the address. So is any other spelling of
        the same bytes, because attempts are counted for the text of a mark.
        """
        try:
            raw = base64.b64decode(mark or "", altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return False
        if len(raw) != _BYTES or base64.urlsafe_b64encode(raw).decode() != mark:
            return False
        body, code = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        if not hmac.compare_digest(code, self._code(body, email)):
            return False
        return time.time() < int.from_bytes(body[_NONCE_BYTES:], "big") + life_s

    def kept_or_made(self, mark: str | None, email: str) -> str:
        """The mark for the response to a sign-in: that of the device, unless it is old."""
        if mark is not None and self.is_of(mark, email, life_s=LIFE_S / 2):
            return mark
        return self.make(email)

    def _code(self, body: bytes, email: str) -> bytes:
        return hmac.digest(self._key, body + email.encode(), "sha256")[:_MAC_BYTES]

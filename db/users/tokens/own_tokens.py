"""Own tokens: access tokens (JWT) and refresh tokens (random, with a MAC)."""

import base64
import binascii
import hashlib
import hmac
import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID, uuid4

import msgspec

from db.users.tokens.unverified_claims import InvalidToken, Seconds, decode_part

OURS = "howdah"
"""Issuer and audience of our access tokens."""

_MAC_BYTES = 18  # makes a refresh token 66 bytes, and so base64 without padding


class AccessClaims(msgspec.Struct, frozen=True):
    iss: str
    aud: str
    sub: UUID
    sid: UUID
    iat: int
    exp: Annotated[int, Seconds]
    jti: str

    @property
    def expires_at(self) -> datetime:
        return datetime.fromtimestamp(self.exp, UTC)


class AccessTokens:
    """JWTs signed with HS256 under one key. Any header other than ours is rejected."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def make(self, user_id: UUID, session_id: UUID, *, seconds: int) -> tuple[str, datetime]:
        """Returns the token and its expiry."""
        now = int(time.time())
        claims = AccessClaims(
            iss=OURS,
            aud=OURS,
            sub=user_id,
            sid=session_id,
            iat=now,
            exp=now + seconds,
            jti=uuid4().hex,
        )
        body = _HEADER + _encoded(msgspec.json.encode(claims))
        return f"{body}.{self._signature(body)}", claims.expires_at

    def verify(self, token: str, *, accept_expired: bool = False) -> AccessClaims:
        body, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(body).encode()):
            raise InvalidToken("its signature is not ours")
        if not body.startswith(_HEADER):
            raise InvalidToken("its header is not ours")
        claims = decode_part(body.removeprefix(_HEADER), AccessClaims)
        if claims.iss != OURS or claims.aud != OURS:
            raise InvalidToken("its issuer or audience is not ours")
        if claims.exp <= time.time() and not accept_expired:
            raise InvalidToken("it has expired")
        return claims

    def _signature(self, body: str) -> str:
        return _encoded(hmac.digest(self._key, body.encode(), "sha256"))


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A parsed refresh token: its session, and the SHA-256 of its bytes."""

    session_id: UUID
    hash: bytes
    raw: bytes = field(repr=False)


class RefreshTokens:
    """Tokens of 256 random bits and the session ID, authenticated by a MAC.

    A valid token that is not the latest of its session has therefore been reused.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def make(self, session_id: UUID) -> tuple[str, bytes]:
        """Returns the token, which is not stored, and its hash."""
        return self._sealed(session_id.bytes + os.urandom(32))

    @staticmethod
    def make_nonce() -> bytes:
        return os.urandom(32)

    def successor(self, token: RefreshToken, nonce: bytes) -> tuple[str, bytes]:
        """Returns the token that replaces `token`, and its hash.

        Derived, so that a repeated request gets the same successor and no token is stored. Who
        lacks one of the key, the nonce and the replaced token cannot compute it.
        """
        secret = hmac.digest(self._key, b"successor" + nonce + token.raw, "sha256")
        return self._sealed(token.session_id.bytes + secret)

    def open(self, token: str) -> RefreshToken:
        try:
            raw = base64.b64decode(token, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise InvalidToken("it is not base64") from None
        body, code = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        if not hmac.compare_digest(code, self._code(body)):
            raise InvalidToken("it is not one of ours")
        return RefreshToken(UUID(bytes=body[:16]), hashlib.sha256(raw).digest(), raw)

    def _sealed(self, body: bytes) -> tuple[str, bytes]:
        raw = body + self._code(body)
        return base64.urlsafe_b64encode(raw).decode(), hashlib.sha256(raw).digest()

    def _code(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, "sha256")[:_MAC_BYTES]


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


_HEADER = _encoded(b'{"alg":"HS256","typ":"JWT"}') + "."

"""Reads token claims before verification."""

import base64
from typing import Final, NamedTuple, TypeVar

import msgspec

T = TypeVar("T")

LONGEST = 8_192
Seconds: Final = msgspec.Meta(ge=0, le=253_402_300_799)
"""Seconds since 1970 that a datetime can represent."""


class InvalidToken(Exception):
    """A token is invalid. The reason is logged and not sent to the client."""


class UnverifiedClaims(NamedTuple):
    """The claims that select the key; nothing else is used unverified."""

    issuer: str | None
    key_id: str | None


class _Header(msgspec.Struct):
    alg: str
    kid: str | None = None
    crit: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Issuer(msgspec.Struct):
    iss: str | None = None


def peek_claims(token: str) -> UnverifiedClaims:
    """Reads the issuer and key ID; raises InvalidToken for malformed tokens."""
    if len(token) > LONGEST:
        raise InvalidToken("it is too long")
    parts = token.split(".")
    if len(parts) != 3:
        raise InvalidToken("it has not three parts")
    header = decode_part(parts[0], _Header)
    if header.crit is not msgspec.UNSET:
        raise InvalidToken("it has unsupported critical headers (crit)")
    return UnverifiedClaims(decode_part(parts[1], _Issuer).iss, header.kid)


def decode_part(part: str, kind: type[T]) -> T:
    """Decodes base64url JSON; raises InvalidToken for other content."""
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(part + "=="), type=kind)
    except (ValueError, RecursionError):
        raise InvalidToken("it is not readable") from None

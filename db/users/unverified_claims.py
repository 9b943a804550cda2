"""What can be read in a token before anything of it is known to be true."""

import base64
from typing import Final, NamedTuple, TypeVar

import msgspec

T = TypeVar("T")

LONGEST = 8_192
Seconds: Final = msgspec.Meta(ge=0, le=253_402_300_799)
"""A moment in seconds since 1970 that a datetime can hold."""


class InvalidToken(Exception):
    """A token is not to be trusted. The reason is for our log; callers all hear the same."""


class UnverifiedClaims(NamedTuple):
    """Where to look for the key, and no more."""

    issuer: str | None
    key_id: str | None


class _Header(msgspec.Struct):
    alg: str
    kid: str | None = None
    crit: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Issuer(msgspec.Struct):
    iss: str | None = None


def peek_claims(token: str) -> UnverifiedClaims:
    """Refuses what cannot be a token of ours or of an issuer: too long, no JSON, `crit`."""
    if len(token) > LONGEST:
        raise InvalidToken("it is too long")
    parts = token.split(".")
    if len(parts) != 3:
        raise InvalidToken("it has not three parts")
    header = decode_part(parts[0], _Header)
    if header.crit is not msgspec.UNSET:
        raise InvalidToken("it demands what we do not do (crit)")
    return UnverifiedClaims(decode_part(parts[1], _Issuer).iss, header.kid)


def decode_part(part: str, kind: type[T]) -> T:
    """JSON in base64, of the right kind."""
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(part + "=="), type=kind)
    except (ValueError, RecursionError):
        raise InvalidToken("it is not readable") from None

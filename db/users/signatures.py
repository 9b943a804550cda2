"""Reads signed tokens. What a token says of its own algorithm or key decides nothing here."""

import base64
import copy
from collections.abc import Collection
from typing import Final, NamedTuple, TypeVar

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

T = TypeVar("T")
Key = OctKey | RSAKey | ECKey | OKPKey

LONGEST = 8_192
Seconds: Final = msgspec.Meta(ge=0, le=253_402_300_799)
"""A moment in seconds since 1970 that a datetime can hold."""


class Refused(Exception):
    """A token is not to be trusted. The reason is for our log; callers all hear the same."""


class Unverified(NamedTuple):
    """Where to look for the key. Nothing is known to be true yet."""

    issuer: str | None
    key_id: str | None


class _Header(msgspec.Struct):
    alg: str
    kid: str | None = None
    crit: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Issuer(msgspec.Struct):
    iss: str | None = None


class _Registry(jws.JWSRegistry):
    """joserfc's own, but silent about EdDSA, which issuers will go on using for years."""

    algorithms = jws.JWSRegistry.algorithms | {
        "EdDSA": copy.copy(jws.JWSRegistry.algorithms["EdDSA"])
    }


_Registry.algorithms["EdDSA"].security_warning = None


def look_into(token: str) -> Unverified:
    """Refuses what cannot be a token of ours or of an issuer: too long, no JSON, `crit`."""
    if len(token) > LONGEST:
        raise Refused("it is too long")
    parts = token.split(".")
    if len(parts) != 3:
        raise Refused("it has not three parts")
    header = _decoded(parts[0], _Header)
    if header.crit is not msgspec.UNSET:
        raise Refused("it demands what we do not do (crit)")
    return Unverified(_decoded(parts[1], _Issuer).iss, header.kid)


def verified_claims(token: str, key: Key, algorithms: Collection[str], claims: type[T]) -> T:
    """What the token says, when `key` has signed it by one of `algorithms`."""
    registry = _Registry(algorithms=algorithms, strict_check_header=False)
    try:
        payload = jws.deserialize_compact(token, key, algorithms, registry).payload
        return msgspec.json.decode(payload or b"", type=claims)
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise Refused(f"{type(error).__name__} while verifying it") from None


def _decoded(part: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(part + "=="), type=kind)
    except (ValueError, RecursionError):
        raise Refused("it is not readable") from None

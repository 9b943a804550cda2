"""Verifies what others have signed. What a token says of its own algorithm or key decides nothing.

joserfc and the cryptography behind it cost 10 MB and 70 ms: only a server with an outside issuer
imports this.
"""

import copy
from collections.abc import Collection
from typing import TypeVar

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from db.users.unverified_claims import InvalidToken

T = TypeVar("T")
Key = OctKey | RSAKey | ECKey | OKPKey


class _Registry(jws.JWSRegistry):
    """joserfc's own, but silent about EdDSA, which issuers will go on using for years."""

    algorithms = jws.JWSRegistry.algorithms | {
        "EdDSA": copy.copy(jws.JWSRegistry.algorithms["EdDSA"])
    }


_Registry.algorithms["EdDSA"].security_warning = None


def verified_claims(token: str, key: Key, algorithms: Collection[str], claims: type[T]) -> T:
    """What the token says, when `key` has signed it by one of `algorithms`."""
    registry = _Registry(algorithms=algorithms, strict_check_header=False)
    try:
        payload = jws.deserialize_compact(token, key, algorithms, registry).payload
        return msgspec.json.decode(payload or b"", type=claims)
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise InvalidToken(f"{type(error).__name__} while verifying it") from None

"""Verifies external signatures. The token does not select the algorithm or the key.

Imported only on servers with an external issuer: joserfc and cryptography take 10 MB and 70 ms.
"""

import copy
from collections.abc import Collection
from typing import TypeVar

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from db.users.tokens.unverified_claims import InvalidToken

T = TypeVar("T")
Key = OctKey | RSAKey | ECKey | OKPKey


class _Registry(jws.JWSRegistry):
    """Omits joserfc's warning about EdDSA, which issuers still use."""

    algorithms = jws.JWSRegistry.algorithms | {
        "EdDSA": copy.copy(jws.JWSRegistry.algorithms["EdDSA"])
    }


_Registry.algorithms["EdDSA"].security_warning = None


def verified_claims(token: str, key: Key, algorithms: Collection[str], claims: type[T]) -> T:
    """The claims of the token. Raises InvalidToken unless `key` signed it."""
    registry = _Registry(algorithms=algorithms, strict_check_header=False)
    try:
        payload = jws.deserialize_compact(token, key, algorithms, registry).payload
        return msgspec.json.decode(payload or b"", type=claims)
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise InvalidToken(f"{type(error).__name__} while verifying it") from None

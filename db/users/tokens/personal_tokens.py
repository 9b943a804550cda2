"""The text of access tokens for programs: `howdah_pat_`, 32 random characters and a checksum.

The prefix lets secret scanners find a token in code and logs. The checksum (CRC-32 in base 62, as
GitHub does it) tells a mistyped token without a look-up, and spares scanners false alarms.
"""

import hashlib
import secrets
import string
import zlib
from typing import NamedTuple

PREFIX = "howdah_pat_"

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM = 32
_CHECKSUM = 6  # 62**6 is more than 2**32


class NewToken(NamedTuple):
    """A token, which is not stored, and its hash, which is."""

    text: str
    hash: bytes


def make_token() -> NewToken:
    body = PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))
    text = body + _checksum(body)
    return NewToken(text, token_hash(text))


def is_personal(token: str) -> bool:
    return token.startswith(PREFIX)


def is_complete(token: str) -> bool:
    """Whether the checksum matches: the token was copied without a mistake."""
    return (
        len(token) == len(PREFIX) + _RANDOM + _CHECKSUM
        and _checksum(token[:-_CHECKSUM]) == token[-_CHECKSUM:]
    )


def token_hash(token: str) -> bytes:
    """Without a salt or a slow hash: no dictionary contains a random text of 190 bits."""
    return hashlib.sha256(token.encode()).digest()


def _checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(_CHECKSUM):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits

"""The 10,000 most common passwords of 8 or more bytes, which attackers try first.

`common_passwords.bin` has the first 5 bytes of the SHA-256 of each, sorted: 50 kB, read when the
first password is set. A random password is refused by mistake once in 100 million times. The list
is that of zxcvbn 4.5 (MIT), whose source are leaked passwords, and the file was made by

    names = [n for n in FREQUENCY_LISTS["passwords"] if len(n.encode()) >= 8][:10_000]
    sorted(hashlib.sha256(n.encode()).digest()[:5] for n in names)
"""

import functools
import hashlib
from bisect import bisect_left
from pathlib import Path

_BYTES = 5


def is_common(password: str) -> bool:
    """Ignores case: the list is in lower case."""
    digests = _digests()
    wanted = hashlib.sha256(password.lower().encode(errors="surrogatepass")).digest()[:_BYTES]
    count = len(digests) // _BYTES
    at = bisect_left(range(count), wanted, key=lambda index: _digest(digests, index))
    return at < count and _digest(digests, at) == wanted


def _digest(digests: bytes, index: int) -> bytes:
    return digests[index * _BYTES : (index + 1) * _BYTES]


@functools.cache
def _digests() -> bytes:
    return Path(__file__).with_suffix(".bin").read_bytes()

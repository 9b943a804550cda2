"""Remembers for a while which tokens were good, so that a busy client is verified once."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

TTL_S = 30.0
MAX_ENTRIES = 8_192


class VerifiedToken(NamedTuple):
    """Whom a token speaks for, what they may do, and until when."""

    user_id: UUID
    role: str
    expires_at: datetime


class VerificationCache:
    """Keyed by the tokens' hashes; the least recently used leave first.

    The time bounds how long a session works on after it was ended on another replica.
    """

    def __init__(
        self,
        *,
        ttl_s: float = TTL_S,
        max_entries: int = MAX_ENTRIES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ttl_s = ttl_s
        self._max_entries = max_entries
        self._clock = clock
        self.forgotten = 0
        """How often; to be looked at before the question whether a token is good."""
        self._known: OrderedDict[bytes, tuple[VerifiedToken, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, token: str) -> VerifiedToken | None:
        key = _hash(token)
        found = self._known.get(key)
        if found is None:
            return None
        verified, until = found
        if until <= self._clock():
            del self._known[key]
            return None
        self._known.move_to_end(key)
        return verified

    def put(self, token: str, verified: VerifiedToken, *, asked_at: int) -> None:
        """Unless somebody was forgotten since `asked_at`: it could be this one."""
        if asked_at != self.forgotten:
            return
        left_s = verified.expires_at.timestamp() - time.time()
        self._known[_hash(token)] = verified, self._clock() + min(self._ttl_s, left_s)
        if len(self._known) > self._max_entries:
            self._known.popitem(last=False)

    def forget(self, user_id: UUID) -> None:
        """What has just ended here ends here at once."""
        self.forgotten += 1
        for key in [key for key, (known, _) in self._known.items() if known.user_id == user_id]:
            del self._known[key]


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()

"""Verified tokens, and the cache that spares their verification."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from db.users.access_tokens import Scopes

TTL_S = 30.0  # bounds how long a session stays usable that another replica ended
MAX_ENTRIES = 8_192


class VerifiedToken(NamedTuple):
    """The user, role and expiry of a verified token. An external token has no session."""

    user_id: UUID
    role: str
    expires_at: datetime
    session_id: UUID | None = None
    scopes: Scopes | None = None
    """The scopes of an access token for programs; None for a session, which may do everything."""
    token_id: UUID | None = None
    """The ID of an access token for programs."""


class VerificationCache:
    """An LRU cache keyed by token hash."""

    def __init__(
        self, *, max_entries: int = MAX_ENTRIES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_entries = max_entries
        self._clock = clock
        self.forgotten = 0
        """The number of `forget` calls; read it before verifying a token and pass it to `put`."""
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
        """Caches a token, unless `forget` was called since `asked_at`: it may be revoked."""
        if asked_at != self.forgotten:
            return
        left_s = verified.expires_at.timestamp() - time.time()
        self._known[_hash(token)] = verified, self._clock() + min(TTL_S, left_s)
        if len(self._known) > self._max_entries:
            self._known.popitem(last=False)

    def forget(self, user_id: UUID) -> None:
        """Evicts the tokens of a user."""
        self.forgotten += 1
        for key in [key for key, (known, _) in self._known.items() if known.user_id == user_id]:
            del self._known[key]

    def forget_all(self) -> None:
        self.forgotten += 1
        self._known.clear()


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()

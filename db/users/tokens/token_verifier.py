"""Verifies access tokens, own and external, and caches the verified ones."""

import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from db.errors import Unauthenticated
from db.kit.base import parse_uuid
from db.postgres.engine import Database
from db.users.accounts import ExternalUser
from db.users.sessions import Sessions
from db.users.tokens.own_tokens import OURS, AccessTokens
from db.users.tokens.unverified_claims import InvalidToken, peek_claims
from db.users.unscoped.accounts import Users

log = logging.getLogger(__name__)

TTL_S = 30.0
MAX_ENTRIES = 8_192


class Issuer(Protocol):
    """A trusted external issuer, implemented by `db.users.tokens.issuers`."""

    async def verify(self, token: str, key_id: str | None) -> tuple[ExternalUser, datetime]:
        """Returns the user and the expiry; raises InvalidToken if the issuer did not sign it."""


class VerifiedToken(NamedTuple):
    """The user, role and expiry of a verified token. An external token has no session."""

    user_id: UUID
    role: str
    expires_at: datetime
    session_id: UUID | None = None


class VerificationCache:
    """An LRU cache keyed by token hash.

    `ttl_s` bounds how long a session remains usable after it was ended on another replica.
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
        self._known[_hash(token)] = verified, self._clock() + min(self._ttl_s, left_s)
        if len(self._known) > self._max_entries:
            self._known.popitem(last=False)

    def forget(self, user_id: UUID) -> None:
        """Evicts the tokens of a user."""
        self.forgotten += 1
        for key in [key for key, (known, _) in self._known.items() if known.user_id == user_id]:
            del self._known[key]


class Verifier:
    def __init__(
        self,
        database: Database,
        access_tokens: AccessTokens,
        issuer: Issuer | None,
        verifications: VerificationCache,
        *,
        admits_new_users: bool = True,
    ) -> None:
        """`admits_new_users`: whether the first token of the issuer's user creates an account."""
        self._admits_new_users = admits_new_users
        self._database = database
        self._access_tokens = access_tokens
        self._issuer = issuer
        self._verifications = verifications

    async def verify(self, token: str) -> VerifiedToken:
        """Verifies a token; every invalid token gives the same error."""
        try:
            return await self._verified(token)
        except InvalidToken as reason:
            log.info("rejected a token: %s", reason)
            raise Unauthenticated(
                "This session is invalid or has ended.",
                hint="Get a new access token with refreshSession, or sign in again.",
            ) from None

    def forget(self, user_id: UUID) -> None:
        """Call this when a session of the user has ended."""
        self._verifications.forget(user_id)

    async def _verified(self, token: str) -> VerifiedToken:
        if not token.isascii():
            raise InvalidToken("it is not ASCII")
        if (known := self._verifications.get(token)) is not None:
            return known
        asked_at = self._verifications.forgotten
        unverified = peek_claims(token)
        if unverified.issuer == OURS:
            verified = await self._verify_own(token)
        elif self._issuer is not None:
            verified = await self._verify_external(self._issuer, token, unverified.key_id)
        else:
            raise InvalidToken("no external issuer is configured")
        self._verifications.put(token, verified, asked_at=asked_at)
        return verified

    async def _verify_own(self, token: str) -> VerifiedToken:
        claims = self._access_tokens.verify(token)
        async with self._database.read(
            reserved=True
        ) as session:  # so that cancelling a run still works when the pool is exhausted
            role = await Sessions(session).role(claims.sid, claims.sub)
        if role is None:
            raise InvalidToken("its session has ended")
        return VerifiedToken(parse_uuid(claims.sub.bytes), role, claims.expires_at, claims.sid)

    async def _verify_external(
        self, issuer: Issuer, token: str, key_id: str | None
    ) -> VerifiedToken:
        person, expires_at = await issuer.verify(token, key_id)
        user = await self._database.write(
            lambda session: Users(session).get_or_create_external(
                person, may_create=self._admits_new_users
            )
        )
        if user is None and not self._admits_new_users:
            raise Unauthenticated(
                "The user of this token has no account on this server.",
                hint="Ask the operator to admit new users of the issuer (HOWDAH_SIGN_UP).",
            )
        if user is None:
            raise InvalidToken("its user was removed")
        return VerifiedToken(user.id, user.role, expires_at)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()

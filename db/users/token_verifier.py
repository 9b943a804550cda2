"""Verifies access tokens, own and external."""

import logging
from datetime import datetime
from typing import Protocol
from uuid import UUID

from db.errors import Unauthenticated
from db.kit.base import parse_uuid
from db.postgres.engine import Database
from db.users.accounts import ExternalUser, Users
from db.users.sessions import Sessions
from db.users.tokens import OURS, AccessTokens
from db.users.unverified_claims import InvalidToken, peek_claims
from db.users.verified_tokens import VerificationCache, VerifiedToken

log = logging.getLogger(__name__)


class Issuer(Protocol):
    """A trusted external issuer, implemented by `db.users.issuers`."""

    async def verify(self, token: str, key_id: str | None) -> tuple[ExternalUser, datetime]:
        """Returns the user and the expiry; raises InvalidToken if the issuer did not sign it."""


class Verifier:
    def __init__(
        self,
        database: Database,
        access_tokens: AccessTokens,
        issuer: Issuer | None,
        verifications: VerificationCache,
    ) -> None:
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
        return VerifiedToken(parse_uuid(claims.sub.bytes), role, claims.expires_at)

    async def _verify_external(
        self, issuer: Issuer, token: str, key_id: str | None
    ) -> VerifiedToken:
        person, expires_at = await issuer.verify(token, key_id)
        user = await self._database.write(
            lambda session: Users(session).get_or_create_external(person)
        )
        if user is None:
            raise InvalidToken("its user was removed")
        return VerifiedToken(user.id, user.role, expires_at)

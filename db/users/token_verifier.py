"""The one place where a token becomes a person."""

import logging
from datetime import datetime
from typing import Protocol
from uuid import UUID

from db.errors import Unauthenticated
from db.kit.base import parse_uuid
from db.postgres.engine import Database
from db.users.accounts import OutsideUser, Users
from db.users.sessions import Sessions
from db.users.tokens import OURS, AccessTokens
from db.users.unverified_claims import Refused, look_into
from db.users.verified_tokens import Verifications, Verified

log = logging.getLogger(__name__)


class Issuer(Protocol):
    """Somebody outside whose word we take; `db.users.issuers` has the one there is."""

    async def verify(self, token: str, key_id: str | None) -> tuple[OutsideUser, datetime]:
        """Who the token speaks for, and until when; Refused when it is not the issuer's."""


class Verifier:
    """Knows our own access tokens and those of the outside issuer, should there be one."""

    def __init__(
        self,
        database: Database,
        access_tokens: AccessTokens,
        issuer: Issuer | None,
        verifications: Verifications,
    ) -> None:
        self._database = database
        self._access_tokens = access_tokens
        self._issuer = issuer
        self._verifications = verifications

    async def verify(self, token: str) -> Verified:
        """Whom an access token speaks for; one answer for all that are no good."""
        try:
            return await self._verified(token)
        except Refused as reason:
            log.info("a token was refused: %s", reason)
            raise Unauthenticated(
                "This session is not valid, or not any more.",
                hint="Get a new access token with refreshSession, or sign in again.",
            ) from None

    def forget(self, user_id: UUID) -> None:
        """To be called when a session of theirs has ended."""
        self._verifications.forget(user_id)

    async def _verified(self, token: str) -> Verified:
        if not token.isascii():
            raise Refused("it is not ASCII")
        if (known := self._verifications.get(token)) is not None:
            return known
        asked_at = self._verifications.forgotten
        unverified = look_into(token)
        if unverified.issuer == OURS:
            verified = await self._ours(token)
        elif self._issuer is not None:
            verified = await self._outside(self._issuer, token, unverified.key_id)
        else:
            raise Refused("no outside issuer is set")
        self._verifications.put(token, verified, asked_at=asked_at)
        return verified

    async def _ours(self, token: str) -> Verified:
        claims = self._access_tokens.verify(token)
        async with self._database.read(reserved=True) as session:  # who cancels must come in
            role = await Sessions(session).role(claims.sid, claims.sub)
        if role is None:
            raise Refused("its session has ended")
        return Verified(parse_uuid(claims.sub.bytes), role, claims.expires_at)

    async def _outside(self, issuer: Issuer, token: str, key_id: str | None) -> Verified:
        person, expires_at = await issuer.verify(token, key_id)
        user = await self._database.write(lambda session: Users(session).meet(person))
        if user is None:
            raise Refused("its user was removed")
        return Verified(user.id, user.role, expires_at)

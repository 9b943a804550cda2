"""Verifies access tokens, own and external, and caches the verified ones."""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol

from db.errors import HowdahError, Unauthenticated
from db.kit.base import parse_uuid
from db.postgres.engine import Database
from db.postgres.sessions import Session
from db.users.access_tokens import granted_scopes
from db.users.accounts import ExternalUser
from db.users.sign_in_sessions import Sessions
from db.users.tokens.access_changes import AccessChanges
from db.users.tokens.own_tokens import OURS, AccessTokens
from db.users.tokens.personal_tokens import is_complete, is_personal, token_hash
from db.users.tokens.unverified_claims import InvalidToken, peek_claims
from db.users.tokens.verification_cache import VerifiedToken
from db.users.unscoped.accounts import Users
from db.users.unscoped.presented_tokens import UnscopedAccessTokens

log = logging.getLogger(__name__)


class Issuer(Protocol):
    """A trusted external issuer, implemented by `db.users.tokens.issuers`."""

    async def verify(self, token: str, key_id: str | None) -> tuple[ExternalUser, datetime]:
        """Returns the user and the expiry; raises InvalidToken if the issuer did not sign it."""


class Verifier:
    def __init__(
        self,
        database: Database,
        access_tokens: AccessTokens,
        issuer: Issuer | None,
        access: AccessChanges,
        *,
        admits_new_users: bool = True,
    ) -> None:
        """`admits_new_users`: whether the first token of the issuer's user creates an account."""
        self._admits_new_users = admits_new_users
        self._database = database
        self._access_tokens = access_tokens
        self._issuer = issuer
        self.access = access
        self._verifications = access.verifications

    def known(self, token: str) -> VerifiedToken | None:
        """The cached verification of a token."""
        return self._verifications.get(token) if token.isascii() else None

    async def verify(self, token: str) -> VerifiedToken:
        """Verifies a token; every invalid token of a kind gives the same error."""
        try:
            return await self._verified(token)
        except InvalidToken as reason:
            log.info("rejected a token: %s", reason)
            if is_personal(token):
                raise Unauthenticated(
                    "This access token is unknown, has expired or was revoked.",
                    hint="Create another with `createAccessToken`.",
                ) from None
            raise Unauthenticated(
                "This session is invalid or has ended.",
                hint="Get a new access token with refreshSession, or sign in again.",
            ) from None

    async def _verified(self, token: str) -> VerifiedToken:
        if not token.isascii():
            raise InvalidToken("it is not ASCII")
        if (known := self._verifications.get(token)) is not None:
            return known
        asked_at = self._verifications.forgotten
        if is_personal(token):
            verified = await self._verify_personal(token)
        elif (unverified := peek_claims(token)).issuer == OURS:
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
            live = await Sessions(session).live(claims.sid, claims.sub)
        if live is None:
            raise InvalidToken("its session has ended")
        if live.use_is_due:
            await self._record_use(
                lambda session: Sessions(session).record_use(claims.sid, claims.sub)
            )
        user_id = parse_uuid(claims.sub.bytes)
        return VerifiedToken(user_id, live.role, claims.expires_at, claims.sid)

    async def _verify_personal(self, token: str) -> VerifiedToken:
        if not is_complete(token):
            raise Unauthenticated(
                "This access token is not complete: its checksum does not match.",
                hint="Copy the whole token again, from `howdah_pat_` on.",
            )
        async with self._database.read(reserved=True) as session:  # as for a session
            found = await UnscopedAccessTokens(session).find(token_hash(token))
        if found is None:
            raise InvalidToken("it is unknown, has expired or was revoked")
        if found.use_is_due:
            await self._record_use(
                lambda session: UnscopedAccessTokens(session).record_use(found.id)
            )
        return VerifiedToken(
            found.owner_id,
            found.role,
            found.expires_at,
            scopes=granted_scopes(found.scopes),
            token_id=found.id,
        )

    async def _record_use(self, record: Callable[[Session], Awaitable[None]]) -> None:
        """Cached verifications do not come here, and one of many writes: not each request."""
        try:
            await self._database.write(record, reserved=True)
        except HowdahError as error:  # the next verification tries again
            log.info("the last use of a token was not recorded: %s", error.message)

    async def _verify_external(
        self, issuer: Issuer, token: str, key_id: str | None
    ) -> VerifiedToken:
        person, expires_at = await issuer.verify(token, key_id)
        user = await self._database.write(
            lambda session: Users(session).get_or_create_external(person, may_create=False)
        )
        if user is None and self._admits_new_users:
            user = await self._database.transaction(
                lambda session: Users(session).get_or_create_external(person)
            )
        if user is None and not self._admits_new_users:
            raise Unauthenticated(
                "The user of this token has no account on this server.",
                hint="Ask the operator to admit new users of the issuer (HOWDAH_SIGN_UP).",
            )
        if user is None:
            raise InvalidToken("its user was removed or suspended")
        return VerifiedToken(user.id, user.role, expires_at)

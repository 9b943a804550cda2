"""User accounts, sessions and token verification."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import argon2

from db.concurrency.waiting import in_background
from db.events import EventBus
from db.mail import Mail
from db.postgres.engine import Database
from db.security.keys import SecretKey
from db.security.passwords import PROFILE, Passwords
from db.settings import Settings
from db.users.access_tokens import (
    AccessTokenList,
    AccessTokenRow,
    AccessTokenScope,
    Scopes,
)
from db.users.accounts import ExternalUser, OwnUser, Role, UserRow, canonical_email
from db.users.administration import Administration
from db.users.attempt_counts import Attempts
from db.users.cost_allowance import CostAllowance
from db.users.identity import (
    LOCAL_ADMIN,
    Identity,
    Rules,
    is_local_admin,
)
from db.users.password_resets import PasswordResets, ResetToken
from db.users.sign_in_links import SignInLinks
from db.users.sign_in_sessions import Device, SessionList, SessionRow, Sessions
from db.users.throttle import Throttle
from db.users.tokens.access_changes import AccessChanges
from db.users.tokens.device_marks import LIFE_S as DEVICE_MARK_LIFE_S
from db.users.tokens.own_tokens import AccessTokens, RefreshTokens
from db.users.tokens.personal_tokens import make_token
from db.users.tokens.session_tokens import SessionTokens, SignInResult
from db.users.tokens.token_verifier import Issuer, Verifier
from db.users.tokens.verification_cache import VerificationCache
from db.users.unscoped.accounts import Users
from db.users.unscoped.directory import UserDirectory
from db.users.unscoped.presented_tokens import (
    UnscopedAccessTokens,
    UnscopedPasswordResets,
    UnscopedSessions,
)

__all__ = [
    "DEVICE_MARK_LIFE_S",
    "LOCAL_ADMIN",
    "AccessTokenList",
    "AccessTokenRow",
    "AccessTokenScope",
    "Administration",
    "Attempts",
    "CostAllowance",
    "Device",
    "ExternalUser",
    "Identity",
    "OwnUser",
    "ResetToken",
    "Role",
    "Scopes",
    "SessionList",
    "SessionRow",
    "SessionTokens",
    "Sessions",
    "SignInLinks",
    "SignInResult",
    "UnscopedAccessTokens",
    "UnscopedPasswordResets",
    "UnscopedSessions",
    "UserDirectory",
    "UserRow",
    "Users",
    "canonical_email",
    "is_local_admin",
    "make_token",
    "open_identity",
]


@asynccontextmanager
async def open_identity(
    settings: Settings,
    database: Database,
    secret: SecretKey,
    *,
    events: EventBus | None = None,
    mail: Mail | None = None,
    profile: argon2.Parameters = PROFILE,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Identity]:
    """Without `events`, other processes learn of ended sessions within 30 s.

    Tests pass `profile` for cheap hashes and `tls` for their own certificate authority.
    """
    access_tokens = AccessTokens(secret.derive("access tokens"))
    issuer = _external_issuer(settings, tls)
    passwords = Passwords(profile=profile)
    throttle = Throttle(database, secret.derive("attempts"))
    access = AccessChanges(events, VerificationCache())
    verifier = Verifier(
        database,
        access_tokens,
        issuer,
        access,
        admits_new_users=settings.issuer_sign_up_open,
    )
    password_resets = PasswordResets(
        database, passwords=passwords, throttle=throttle, access=access, mail=mail
    )
    try:
        async with in_background(access.follow(), name="access changes"):
            yield Identity(
                database,
                passwords=passwords,
                access_tokens=access_tokens,
                refresh_tokens=RefreshTokens(secret.derive("refresh tokens")),
                verifier=verifier,
                throttle=throttle,
                password_resets=password_resets,
                rules=_rules(settings),
            )
    finally:
        await password_resets.close()
        passwords.close()


def _rules(settings: Settings) -> Rules:
    return Rules(
        sign_up_open=settings.sign_up_open,
        access_token_seconds=settings.access_token_seconds,
        session_life=timedelta(days=settings.refresh_token_days),
        max_session_life=timedelta(days=settings.session_max_days),
    )


def _external_issuer(settings: Settings, tls: ssl.SSLContext | None) -> Issuer | None:
    if settings.jwks_url is None and settings.jwt_secret is None:
        return None
    from db.users.tokens.issuers import ExternalIssuer

    return ExternalIssuer.of(settings, tls=tls)

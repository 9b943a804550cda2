"""User accounts, sessions and token verification."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import argon2

from db.postgres.engine import Database
from db.security.keys import SecretKey
from db.security.passwords import PROFILE, Passwords
from db.settings import Settings
from db.users.accounts import ExternalUser, OwnUser, Role, UserRow, Users, canonical_email
from db.users.attempt_counts import Attempts
from db.users.cost_allowance import CostAllowance
from db.users.identity import (
    LOCAL_ADMIN,
    Identity,
    Rules,
    SessionTokens,
    SignInResult,
    is_local_admin,
)
from db.users.password_resets import PasswordResets, ResetToken
from db.users.sessions import Sessions
from db.users.sign_in_links import SignInLinks
from db.users.throttle import Throttle
from db.users.tokens.own_tokens import AccessTokens, RefreshTokens
from db.users.tokens.token_verifier import Issuer, VerificationCache, Verifier
from db.users.unscoped import UnscopedPasswordResets, UnscopedSessions

__all__ = [
    "LOCAL_ADMIN",
    "Attempts",
    "CostAllowance",
    "ExternalUser",
    "Identity",
    "OwnUser",
    "ResetToken",
    "Role",
    "SessionTokens",
    "Sessions",
    "SignInLinks",
    "SignInResult",
    "UnscopedPasswordResets",
    "UnscopedSessions",
    "UserRow",
    "Users",
    "canonical_email",
    "is_local_admin",
    "open_identity",
]


@asynccontextmanager
async def open_identity(
    settings: Settings,
    database: Database,
    secret: SecretKey,
    *,
    profile: argon2.Parameters = PROFILE,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Identity]:
    """Tests pass `profile` for cheap hashes and `tls` for their own certificate authority."""
    access_tokens = AccessTokens(secret.derive("access tokens"))
    issuer = _external_issuer(settings, tls)
    passwords = Passwords(profile=profile)
    throttle = Throttle(database, secret.derive("attempts"))
    verifier = Verifier(
        database,
        access_tokens,
        issuer,
        VerificationCache(),
        admits_new_users=settings.issuer_sign_up_open,
    )
    try:
        yield Identity(
            database,
            passwords=passwords,
            access_tokens=access_tokens,
            refresh_tokens=RefreshTokens(secret.derive("refresh tokens")),
            verifier=verifier,
            throttle=throttle,
            password_resets=PasswordResets(
                database, passwords=passwords, throttle=throttle, verifier=verifier
            ),
            rules=Rules(
                sign_up_open=settings.sign_up_open,
                access_token_seconds=settings.access_token_seconds,
                session_life=timedelta(days=settings.refresh_token_days),
            ),
        )
    finally:
        passwords.close()


def _external_issuer(settings: Settings, tls: ssl.SSLContext | None) -> Issuer | None:
    if settings.jwks_url is None and settings.jwt_secret is None:
        return None
    from db.users.tokens.issuers import ExternalIssuer

    return ExternalIssuer.of(settings, tls=tls)

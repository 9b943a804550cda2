"""Resets of forgotten passwords by a one-time token, which an admin or the operator creates."""

import hashlib
import logging
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from db.errors import BadInput, HowdahError, NotFound
from db.kit.audit import AuditKind
from db.postgres.engine import Database, Session
from db.security.passwords import Passwords, checked_password
from db.users.accounts import UserRow
from db.users.acts import record_failure
from db.users.sessions import Sessions
from db.users.throttle import Throttle
from db.users.tokens.access_changes import AccessChanges
from db.users.unscoped.accounts import Users
from db.users.unscoped.sessions import UnscopedPasswordResets

log = logging.getLogger(__name__)

LIFE = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetToken:
    """A token that sets the password of one user once."""

    token: str = field(repr=False)
    expires_at: datetime


class PasswordResets:
    def __init__(
        self,
        database: Database,
        *,
        passwords: Passwords,
        throttle: Throttle,
        access: AccessChanges,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._throttle = throttle
        self._access = access

    async def create(self, user_id: UUID) -> ResetToken:
        """Creates a token, and voids the previous one of the user.

        Raises:
            NotFound: The user does not exist.
            BadInput: The user has no password on this server.
        """
        token = secrets.token_urlsafe(32)
        expires_at = await self._database.transaction(
            lambda session: UnscopedPasswordResets(session).replace(
                user_id, token_hash=_hash(token), life=LIFE
            )
        )
        if expires_at is None:
            raise await self._no_password(user_id)
        return ResetToken(token=token, expires_at=expires_at)

    async def use(self, token: str, *, password: str, address: str) -> UserRow:
        """Sets the password, ends every session of the user and voids the token.

        A token that never existed, was used or has expired gives the same error.
        """
        password = checked_password(password, field="newPassword")
        token_hash = _hash(token)
        async with self._throttle.password_reset(address):
            async with self._database.read() as session:  # before the cost of hashing the password
                is_valid = await UnscopedPasswordResets(session).exists(token_hash)
            if not is_valid:
                await record_failure(self._database, AuditKind.PASSWORD_RESET)
                raise _invalid_token()
            password_hash = await self._passwords.hash(password)
            user = await self._database.transaction(
                lambda session: _set_password(session, token_hash, password_hash)
            )
        await self._access.announce(user.id)
        log.info("the password of %s was reset", user.id)
        return user

    async def _no_password(self, user_id: UUID) -> HowdahError:
        async with self._database.read() as session:
            user = await Users(session).by_id(user_id)
        if user is None:
            return NotFound(
                "The user does not exist.",
                hint="Run `howdah user list` to see all users.",
                field="userId",
            )
        return BadInput(
            "This user has no password on this server.",
            hint="A user of an external issuer resets the password there; the local admin signs "
            "in with `howdah user sign-in-link`.",
            field="userId",
        )


async def _set_password(session: Session, token_hash: bytes, password_hash: str) -> UserRow:
    user = await UnscopedPasswordResets(session).use(token_hash, password_hash=password_hash)
    if user is None:  # another request has used the token since it was checked
        raise _invalid_token()
    await Sessions(session).end_all(user.id)
    return user


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()


def _invalid_token() -> HowdahError:
    return BadInput(
        "This password reset link is invalid, was already used or has expired.",
        hint="Ask for a new link. A link works once, and for one hour.",
        field="token",
    )

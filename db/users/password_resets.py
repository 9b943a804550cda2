"""Resets of forgotten passwords by a one-time token: created by an admin, or mailed on request."""

import hashlib
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from db.concurrency.waiting import TaskSet
from db.errors import BadInput, Forbidden, HowdahError, NotFound
from db.kit.audit import AuditKind
from db.mail import Mail
from db.postgres.engine import Database
from db.postgres.sessions import Session
from db.security.passwords import Passwords, checked_new_password
from db.users.accounts import UserRow, canonical_email
from db.users.acts import record_failure
from db.users.sign_in_sessions import Sessions
from db.users.throttle import Throttle
from db.users.tokens.access_changes import AccessChanges
from db.users.unscoped.accounts import Users
from db.users.unscoped.presented_tokens import UnscopedPasswordResets

log = logging.getLogger(__name__)

LIFE = timedelta(hours=1)
CLOSE_S = 5.0


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
        mail: Mail | None = None,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._throttle = throttle
        self._access = access
        self._mail = mail
        self._mailing = TaskSet()

    async def close(self) -> None:
        """Waits a moment for mails that are being sent."""
        await self._mailing.wait(CLOSE_S)

    async def request(self, email: str, *, address: str, link: Callable[[str], str]) -> None:
        """Mails a link to the user, if there is an account with this address and a password.

        The caller does not learn whether: the work follows after the answer, and its errors are
        logged. `link` makes the URL of a token.

        Raises:
            Forbidden: This server sends no mail.
        """
        if self._mail is None:
            raise Forbidden(
                "This server sends no mail.",
                hint="Ask an admin for a link that sets a new password.",
            )
        email = canonical_email(email)
        await self._throttle.reset_mail(email, address)
        self._mailing.start(self._mail_link(self._mail, email, link), name="mail")

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
        password = checked_new_password(password, field="newPassword")
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
        log.info("the password of %s was reset", user.id.hex)
        return user

    async def _mail_link(self, mail: Mail, email: str, link: Callable[[str], str]) -> None:
        try:
            async with self._database.read() as session:
                found = await Users(session).by_email(email)
            if found is None or found[1] is None or found[0].suspended_at is not None:
                return
            reset = await self.create(found[0].id)
            await mail.send(email, "Set a new password", _mail_text(link(reset.token)))
        except HowdahError as error:
            log.warning("a link to reset a password was not mailed: %s", error.message)
        except Exception:  # nobody waits for this task
            log.exception("a link to reset a password was not mailed")

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


def _mail_text(url: str) -> str:
    server = url.partition("/reset-password")[0]
    return f"""A new password was requested for your account at {server}

Set it within one hour:

{url}

If you did not request it, ignore this message: your password stays as it is.
"""


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()


def _invalid_token() -> HowdahError:
    return BadInput(
        "This password reset link is invalid, was already used or has expired.",
        hint="Ask for a new link. A link works once, and for one hour.",
        field="token",
    )

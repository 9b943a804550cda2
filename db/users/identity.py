"""Sign-up, sign-in, sign-out and password changes for own accounts."""

import logging
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from db.errors import BadInput, Conflict, Forbidden, HowdahError, NotFound, Unauthenticated
from db.kit.audit import AuditKind
from db.kit.base import new_id
from db.postgres.engine import Database
from db.postgres.sessions import Session
from db.security.passwords import Passwords, checked_new_password, checked_password
from db.users.accounts import Role, UserRow, canonical_email, name_rule
from db.users.acts import record_failed_sign_in, record_failure
from db.users.administration import Administration
from db.users.password_resets import PasswordResets
from db.users.sign_in_sessions import UNKNOWN_DEVICE, Device, Sessions
from db.users.throttle import Throttle
from db.users.tokens.own_tokens import AccessTokens, RefreshTokens
from db.users.tokens.session_tokens import (
    SignInResult,
    ended_session,
    unknown_refresh_token,
    wrong_refresh_token,
)
from db.users.tokens.token_verifier import Verifier
from db.users.tokens.unverified_claims import InvalidToken
from db.users.unscoped.accounts import Users
from db.users.unscoped.presented_tokens import UnscopedSessions

log = logging.getLogger(__name__)

LOCAL_ADMIN = "admin@howdah.local"
"""The account that a development server creates for itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    sign_up_open: bool
    access_token_seconds: int
    session_life: timedelta
    max_session_life: timedelta
    """From the sign-in on, however often the session is refreshed."""


class Identity:
    def __init__(
        self,
        database: Database,
        *,
        passwords: Passwords,
        access_tokens: AccessTokens,
        refresh_tokens: RefreshTokens,
        verifier: Verifier,
        throttle: Throttle,
        password_resets: PasswordResets,
        rules: Rules,
    ) -> None:
        self.verifier = verifier
        self.access = verifier.access
        self.administration = Administration(database, verifier.access)
        self.password_resets = password_resets
        self._database = database
        self._passwords = passwords
        self._access_tokens = access_tokens
        self._refresh_tokens = refresh_tokens
        self._throttle = throttle
        self._rules = rules

    async def sign_up(
        self, *, email: str, password: str, name: str, address: str, user_agent: str = ""
    ) -> SignInResult:
        if not self._rules.sign_up_open:
            raise Forbidden(
                "Sign-up is closed on this server.",
                hint="Ask the operator to create an account with `howdah user create`.",
            )
        email, name = _validate_new_email(email), name_rule.checked(name)
        password = checked_new_password(password)
        await self._throttle.sign_up(address)
        device = Device(address, user_agent)
        password_hash = await self._passwords.hash(password)

        async def add_and_open(session: Session) -> SignInResult:
            user = await Users(session).add(email=email, name=name, password_hash=password_hash)
            kind = AuditKind.SIGN_UP
            return await self._insert_session(session, user, password_hash, device, kind)

        return self._with_mark(await self._database.transaction(add_and_open))

    async def sign_in(
        self,
        *,
        email: str,
        password: str,
        address: str,
        user_agent: str = "",
        device_mark: str | None = None,
    ) -> SignInResult:
        """A wrong password and an unknown address give the same error after the same time.

        `device_mark` is that of an earlier sign-in on this device; one of another account, or an
        expired one, is ignored.
        """
        email = canonical_email(email)
        try:
            password = checked_password(password)
        except BadInput:  # no account has a password of this length
            raise _wrong_sign_in() from None
        device = Device(address, user_agent)
        async with self._throttle.password(email, address, device_mark=device_mark):
            user, verified = await self._authenticate(email, password)
            try:
                signed_in = await self._open_session(user, verified, device)
            except Unauthenticated:  # the hash has changed: rehashed, or a new password
                user, verified = await self._authenticate(email, password)
                signed_in = await self._open_session(user, verified, device)
        await self._renew_hash(user.id, password, verified)
        return self._with_mark(signed_in, device_mark)

    async def refresh(self, refresh_token: str, *, device: Device = UNKNOWN_DEVICE) -> SignInResult:
        """A call repeated within `REUSE_GRACE` gets the same refresh token as the first."""
        try:
            presented = self._refresh_tokens.open(refresh_token)
        except InvalidToken:
            raise wrong_refresh_token() from None
        nonce = self._refresh_tokens.make_nonce()
        _, new_hash = self._refresh_tokens.successor(presented, nonce)
        rotation = await self._database.transaction(
            lambda session: UnscopedSessions(session).rotate(
                presented.session_id,
                presented=presented.hash,
                new=new_hash,
                nonce=nonce,
                life=self._rules.session_life,
                max_life=self._rules.max_session_life,
                device=device,
            )
        )
        if rotation is None:
            raise wrong_refresh_token()
        if rotation.revoked:
            log.warning(
                "a refresh token of %s was reused; its session was revoked", rotation.user.id.hex
            )
            await self.access.announce(rotation.user.id)
            raise wrong_refresh_token()
        # The stored nonce: of this call, or of the earlier one that this call repeats.
        successor, _ = self._refresh_tokens.successor(presented, rotation.nonce)
        return self._signed_in(rotation.user, presented.session_id, successor)

    async def sign_out(self, user_id: UUID, refresh_token: str) -> None:
        try:
            session_id = self._refresh_tokens.open(refresh_token).session_id
        except InvalidToken:
            raise unknown_refresh_token() from None
        if not await self._database.transaction(
            lambda session: Sessions(session).end(session_id, user_id)
        ):
            raise unknown_refresh_token()
        await self.access.announce(user_id)

    async def change_password(
        self, user_id: UUID, *, current: str, new: str, address: str, user_agent: str = ""
    ) -> SignInResult:
        """Ends every session of the user and opens a new one."""
        try:
            current = checked_password(current)
        except BadInput:  # no account has a password of this length
            raise _wrong_current_password() from None
        new = checked_new_password(new, field="newPassword")
        user, old_hash = await self._with_password(user_id)
        async with self._throttle.current_password(user_id):
            if not await self._passwords.matches(current, old_hash):
                await record_failure(self._database, AuditKind.PASSWORD_CHANGED, user.id)
                raise _wrong_current_password()
        new_hash, device = await self._passwords.hash(new), Device(address, user_agent)
        signed_in = await self._set_password(user, old_hash, new_hash, device)
        if signed_in is None:  # the hash changed: rehashed by a sign-in, or a new password
            user, old_hash = await self._with_password(user_id)
            if await self._passwords.matches(current, old_hash):
                signed_in = await self._set_password(user, old_hash, new_hash, device)
        if signed_in is None:
            raise _wrong_current_password()
        await self.access.announce(user_id)
        return self._with_mark(signed_in)

    # For the operator

    async def create(self, *, email: str, password: str, name: str, role: Role) -> UserRow:
        email, name = _validate_new_email(email), name_rule.checked(name)
        password_hash = await self._passwords.hash(checked_new_password(password))
        return await self._database.transaction(
            lambda session: Users(session).create(
                email=email, name=name, password_hash=password_hash, role=role
            )
        )

    async def issue(
        self,
        user: UserRow,
        *,
        seconds: int | None = None,
        session_life: timedelta | None = None,
        device: Device = UNKNOWN_DEVICE,
        method: str = "command",
    ) -> str:
        """An access token without a sign-in; by default, its session ends with it.

        `method` says in the audit log what takes the place of the password.
        """
        lifetime_s = seconds or self._rules.access_token_seconds
        life = session_life or timedelta(seconds=lifetime_s)
        session_id = new_id()
        _, token_hash = self._refresh_tokens.make(session_id)
        if not await self._database.transaction(
            lambda session: Sessions(session).open(
                session_id,
                user.id,
                token_hash=token_hash,
                life=life,
                device=device,
                method=method,
            )
        ):
            raise NotFound(
                "This user does not exist, or is suspended.",
                hint="Run `howdah user list` to see all users.",
            )
        return self._access_tokens.make(user.id, session_id, seconds=lifetime_s)[0]

    async def renew(self, user: UserRow, access_token: str, *, seconds: int) -> str:
        """A new access token of the session of `access_token`, which may have expired.

        Raises:
            Unauthenticated: The token is not of this user, or its session has ended.
        """
        try:
            claims = self._access_tokens.verify(access_token, accept_expired=True)
        except InvalidToken:
            raise ended_session() from None
        async with self._database.read() as session:
            live = await Sessions(session).live(claims.sid, claims.sub)
        if live is None or claims.sub != user.id:
            raise ended_session()
        return self._access_tokens.make(user.id, claims.sid, seconds=seconds)[0]

    async def local_admin(self) -> UserRow:
        """Creates the account if missing. It has no password; the server prints its tokens."""

        async def find_or_add(session: Session) -> UserRow:
            users = Users(session)
            found = await users.by_email(LOCAL_ADMIN)
            return (
                found[0]
                if found
                else await users.create(
                    email=LOCAL_ADMIN, name="Local admin", password_hash=None, role=Role.ADMIN
                )
            )

        try:
            return await self._database.transaction(find_or_add)
        except Conflict:  # another server has created it meanwhile
            return await self._database.transaction(find_or_add)

    async def _authenticate(self, email: str, password: str) -> tuple[UserRow, str]:
        """Returns the user with this password, and the matching hash."""
        async with self._database.read() as session:
            found = await Users(session).by_email(email)
        user, password_hash = found or (None, None)
        right = await self._passwords.matches(password, password_hash)
        is_right = right and user is not None and password_hash is not None
        if not is_right or (user is not None and user.suspended_at is not None):
            digest, user_id = self._throttle.digest(email), user.id if user else None
            await record_failed_sign_in(self._database, email, user_id, digest=digest)
        if not right or user is None or password_hash is None:
            raise _wrong_sign_in()
        if user.suspended_at is not None:
            raise Forbidden("This account is suspended.", hint="Ask an admin to resume it.")
        return user, password_hash

    async def _open_session(self, user: UserRow, verified: str, device: Device) -> SignInResult:
        return await self._database.transaction(
            lambda session: self._insert_session(session, user, verified, device)
        )

    async def _renew_hash(self, user_id: UUID, password: str, verified: str) -> None:
        """Rehashes the password if its hash is weak, unless the password has changed."""
        if not self._passwords.is_weaker(verified):
            return
        try:
            renewed = await self._passwords.hash(password)
            await self._database.write(
                lambda session: Users(session).set_password(
                    user_id, verified=verified, password_hash=renewed
                )
            )
        except HowdahError as error:  # the next sign-in tries again
            log.info("the hash of %s's password was not renewed: %s", user_id.hex, error.message)

    async def _set_password(
        self, user: UserRow, verified: str, new_hash: str, device: Device
    ) -> SignInResult | None:
        """Returns None if `verified` is no longer the stored hash."""

        async def change(session: Session) -> SignInResult | None:
            if not await Users(session).set_password(
                user.id, verified=verified, password_hash=new_hash
            ):
                return None
            await Sessions(session).end_all(user.id)
            kind = AuditKind.PASSWORD_CHANGED
            return await self._insert_session(session, user, new_hash, device, kind)

        return await self._database.transaction(change)

    async def _with_password(self, user_id: UUID) -> tuple[UserRow, str]:
        async with self._database.read() as session:
            found = await Users(session).with_password(user_id)
        if found is None:
            raise Forbidden(
                "This account has no password on this server.",
                hint="Change the password at the issuer that you sign in with.",
            )
        return found

    async def _insert_session(
        self,
        session: Session,
        user: UserRow,
        verified: str,
        device: Device = UNKNOWN_DEVICE,
        kind: AuditKind = AuditKind.SIGN_IN,
    ) -> SignInResult:
        """Opens a session for a user whose password matched the hash `verified`."""
        session_id = new_id()
        token, token_hash = self._refresh_tokens.make(session_id)
        if not await Sessions(session).open_verified(
            session_id,
            user.id,
            token_hash=token_hash,
            life=min(self._rules.session_life, self._rules.max_session_life),
            device=device,
            verified=verified,
            kind=kind,
        ):
            raise _wrong_sign_in()
        return self._signed_in(user, session_id, token)

    def _with_mark(self, signed_in: SignInResult, mark: str | None = None) -> SignInResult:
        return signed_in.with_mark(
            self._throttle.marks.kept_or_made(mark, signed_in.user.email or "")
        )

    def _signed_in(self, user: UserRow, session_id: UUID, refresh_token: str) -> SignInResult:
        seconds = self._rules.access_token_seconds
        access_token, expires_at = self._access_tokens.make(user.id, session_id, seconds=seconds)
        return SignInResult.of(user, access_token, refresh_token, expires_at, seconds)


async def is_local_admin(database: Database, user_id: UUID) -> bool:
    """Whether this is the person at the machine of a development server."""
    async with database.read() as session:
        found = await Users(session).by_email(LOCAL_ADMIN)
    return found is not None and found[0].id == user_id


def _validate_new_email(email: str) -> str:
    canonical = canonical_email(email)
    if canonical == LOCAL_ADMIN:
        raise BadInput(
            "This e-mail address is reserved for the local admin.",
            hint="Use another address.",
            field="email",
        )
    return canonical


def _wrong_sign_in() -> HowdahError:
    return Unauthenticated(
        "The e-mail address or the password is wrong.",
        hint="Check both, or sign up if you have no account.",
    )


def _wrong_current_password() -> HowdahError:
    return BadInput(
        "This is not the current password.",
        hint="Pass the password that you signed in with.",
        field="currentPassword",
    )

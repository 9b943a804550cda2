"""Sessions, access tokens and password resets of all users: found by token, and their sweeps."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Interval,
    LargeBinary,
    Text,
    and_,
    bindparam,
    case,
    delete,
    func,
    or_,
    select,
    true,
    type_coerce,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql import ClauseElement

from db.kit.audit import AuditKind
from db.kit.repository import S
from db.kit.unscoped import delete_batch
from db.postgres.sessions import Session
from db.postgres.statements import unscoped_change, unscoped_statement
from db.users.access_tokens import AccessToken
from db.users.accounts import User, UserRow
from db.users.acts import record_act_on, record_own_act
from db.users.sign_in_sessions import IS_LIVE, MAY_SIGN_IN, Device, PasswordReset, UserSession

REUSE_GRACE = timedelta(seconds=30)
"""Age of a rotation up to which the replaced token is exchanged for the same successor again."""

USE_EVERY = timedelta(minutes=1)
"""Age from which the last use of an access token is written again."""

EXPIRED_TOKENS_KEPT = timedelta(days=30)
"""An expired access token stays in the list, so that its user sees why a program fails."""


class TokenRotation(NamedTuple):
    """The result of presenting a refresh token."""

    revoked: bool
    nonce: bytes
    """The nonce from which the successor of the presented token is derived."""
    user: UserRow


class UnscopedSessions:
    """A refresh token names a session; only the row says which user it is of."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def rotate(
        self,
        session_id: UUID,
        *,
        presented: bytes,
        new: bytes,
        nonce: bytes,
        life: timedelta,
        max_life: timedelta,
        device: Device,
    ) -> TokenRotation | None:
        """Replaces the presented token by `new` if it is the latest of its family.

        The token replaced by the last rotation changes nothing for `REUSE_GRACE`: the result has
        the nonce of that rotation. Any other token of the family revokes it, which is recorded. The
        session ends at the latest `max_life` after the sign-in.
        """
        row = await self._session.row(
            self._rotate(),
            id=session_id,
            presented=presented,
            new_hash=new,
            nonce=nonce,
            life=life,
            max_life=max_life,
            grace=REUSE_GRACE,
            **device.storable()._asdict(),
        )
        if row is None:
            return None
        rotation = TokenRotation(row[0], row[1], UserRow(*row[2:]))
        if rotation.revoked:
            kind, ended = AuditKind.REFRESH_TOKEN_REUSED, f"signin_{session_id.hex}"
            await record_act_on(self._session, kind, rotation.user.id, sessionId=ended)
        return rotation

    async def sweep(self) -> int:
        """Deletes a batch of expired sessions; returns their number."""
        return len(await self._session.rows(self._sweep()))

    @unscoped_change
    def _rotate(cls) -> ClauseElement:
        """One statement, so that the second of two concurrent calls sees the result of the first.

        PostgreSQL evaluates the conditions again after waiting for the lock on the row.
        """
        presented = bindparam("presented", type_=LargeBinary())
        grace = bindparam("grace", type_=Interval())
        latest = _SESSIONS.token_hash == presented
        repeated = and_(
            _SESSIONS.previous_hash == presented, _SESSIONS.rotated_at > func.now() - grace
        )
        rotated = {
            "token_hash": bindparam("new_hash", type_=LargeBinary()),
            "previous_hash": _SESSIONS.token_hash,
            "rotation_nonce": bindparam("nonce", type_=LargeBinary()),
            "rotated_at": func.now(),
            "expires_at": func.least(
                func.now() + bindparam("life", type_=Interval()),
                _SESSIONS.created_at + bindparam("max_life", type_=Interval()),
            ),
            "last_used_at": func.now(),
            "address": bindparam("address", type_=Text()),
            "user_agent": bindparam("user_agent", type_=Text()),
        }
        values: dict[str, Any] = {
            name: case((latest, value), else_=_SESSIONS[name]) for name, value in rotated.items()
        }
        values["revoked_at"] = case((or_(latest, repeated), None), else_=func.now())
        found = update(UserSession).where(
            _SESSIONS.id == bindparam("id"), User.id == _SESSIONS.owner_id, *IS_LIVE, *MAY_SIGN_IN
        )
        return found.values(values).returning(
            _SESSIONS.revoked_at.is_not(None),
            _SESSIONS.rotation_nonce,
            *(User.__table__.c[name] for name in UserRow._fields),
        )

    @unscoped_change
    def _sweep(cls) -> ClauseElement:
        expired = _SESSIONS.expires_at <= func.now()
        return delete_batch(UserSession.__table__, expired, _SESSIONS.id)


class FoundToken(NamedTuple):
    """A valid access token, and the current role of its user."""

    id: UUID
    owner_id: UUID
    role: str
    scopes: Sequence[str]
    expires_at: datetime
    use_is_due: bool
    """Whether `last_used_at` is older than USE_EVERY."""


class UnscopedAccessTokens(Generic[S]):
    """A token names its user only through its row."""

    def __init__(self, session: S) -> None:
        self._session = session

    async def find(self, token_hash: bytes) -> FoundToken | None:
        row = await self._session.row(self._find(), token_hash=token_hash, use_every=USE_EVERY)
        return None if row is None else FoundToken(*row)

    async def is_valid(self, token_id: UUID, user_id: UUID) -> bool:
        found = await self._session.row(self._is_valid(), id=token_id, user_id=user_id)
        return found is not None

    async def record_use(self: "UnscopedAccessTokens[Session]", token_id: UUID) -> None:
        """One statement with its condition: of many processes, one writes."""
        await self._session.rows(self._record_use(), id=token_id, use_every=USE_EVERY)

    async def sweep(self: "UnscopedAccessTokens[Session]") -> int:
        return len(await self._session.rows(self._sweep(), kept=EXPIRED_TOKENS_KEPT))

    @unscoped_statement
    def _find(cls) -> ClauseElement:
        found = select(
            _TOKENS.id,
            _TOKENS.owner_id,
            User.role,
            _TOKENS.scopes,
            type_coerce(_TOKENS.expires_at, DateTime(timezone=True)),
            _use_is_due(),
        )
        same = _TOKENS.token_hash == bindparam("token_hash", type_=LargeBinary())
        return found.where(same, *_TOKEN_IS_VALID)

    @unscoped_statement
    def _is_valid(cls) -> ClauseElement:
        same = (_TOKENS.id == bindparam("id"), _TOKENS.owner_id == bindparam("user_id"))
        return select(_TOKENS.id).where(*same, *_TOKEN_IS_VALID)

    @unscoped_change
    def _record_use(cls) -> ClauseElement:
        used = update(AccessToken).where(_TOKENS.id == bindparam("id"), _use_is_due())
        return used.values(last_used_at=func.now()).returning(_TOKENS.id)

    @unscoped_change
    def _sweep(cls) -> ClauseElement:
        kept = bindparam("kept", type_=Interval())
        expired = _TOKENS.expires_at <= func.now() - kept
        return delete_batch(AccessToken.__table__, expired, _TOKENS.id)


class UnscopedPasswordResets(Generic[S]):
    """A reset token names its user only through its row, and is created for another user."""

    def __init__(self, session: S) -> None:
        self._session = session

    async def replace(
        self: "UnscopedPasswordResets[Session]",
        user_id: UUID,
        *,
        token_hash: bytes,
        life: timedelta,
    ) -> datetime | None:
        """Stores the token of a user, and records the act.

        Returns its expiry, or None if they have no password.
        """
        expires_at: datetime | None = await self._session.value(
            self._replace(), id=user_id, token_hash=token_hash, life=life
        )
        if expires_at is not None:
            await record_act_on(self._session, AuditKind.PASSWORD_RESET_CREATED, user_id)
        return expires_at

    async def exists(self, token_hash: bytes) -> bool:
        return await self._session.row(self._exists(), token_hash=token_hash) is not None

    async def use(
        self: "UnscopedPasswordResets[Session]", token_hash: bytes, *, password_hash: str
    ) -> UserRow | None:
        """Deletes the token and sets the password, and records the act.

        Returns None if the token is not valid.
        """
        values: Any = {"token_hash": token_hash, "new_hash": password_hash}
        row = await self._session.row(self._use(), **values)
        if row is None:
            return None
        user = UserRow(*row)
        await record_own_act(self._session, AuditKind.PASSWORD_RESET, user.id)
        return user

    async def sweep(self: "UnscopedPasswordResets[Session]") -> int:
        return len(await self._session.rows(self._sweep()))

    @unscoped_change
    def _replace(cls) -> ClauseElement:
        source = select(
            User.id,
            bindparam("token_hash", type_=LargeBinary()),
            func.now() + bindparam("life", type_=Interval()),
        ).where(User.id == bindparam("id"), *_HAS_PASSWORD)
        new = insert(PasswordReset).from_select(["owner_id", "token_hash", "expires_at"], source)
        changes = {name: new.excluded[name] for name in ("token_hash", "expires_at")}
        replaced = new.on_conflict_do_update(index_elements=[_RESETS.owner_id], set_=changes)
        return replaced.returning(_RESETS.expires_at)

    @unscoped_statement
    def _exists(cls) -> ClauseElement:
        return select(_RESETS.owner_id).where(*_IS_VALID)

    @unscoped_change
    def _use(cls) -> ClauseElement:
        """One statement: of two concurrent calls, the second finds no row."""
        used = delete(PasswordReset).where(*_IS_VALID).returning(_RESETS.owner_id).cte("used")
        changed = update(User).where(User.id == used.c.owner_id, *_HAS_PASSWORD)
        values: Any = {
            "password_hash": bindparam("new_hash"),
            "updated_at": func.now(),
            "version": User.version + 1,
        }
        return changed.values(values).returning(
            *(User.__table__.c[name] for name in UserRow._fields)
        )

    @unscoped_change
    def _sweep(cls) -> ClauseElement:
        expired = _RESETS.expires_at <= func.now()
        return delete_batch(PasswordReset.__table__, expired, _RESETS.owner_id)


def _use_is_due() -> ColumnElement[bool]:
    recent = func.now() - bindparam("use_every", type_=Interval())
    return func.coalesce(_TOKENS.last_used_at < recent, true())


_SESSIONS = UserSession.__table__.c
_TOKENS = AccessToken.__table__.c
_TOKEN_IS_VALID: Any = (
    _TOKENS.expires_at > func.now(),
    User.id == _TOKENS.owner_id,
    *MAY_SIGN_IN,
)
_RESETS = PasswordReset.__table__.c
_IS_VALID: Any = (
    _RESETS.token_hash == bindparam("token_hash", type_=LargeBinary()),
    _RESETS.expires_at > func.now(),
)
_HAS_PASSWORD: Any = (User.password_hash.is_not(None), User.removed_at.is_(None))

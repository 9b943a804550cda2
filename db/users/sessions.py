"""User sessions: opened by sign-in, extended by refresh tokens, ended by sign-out."""

from datetime import datetime, timedelta
from typing import Any, Generic
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    ForeignKey,
    Index,
    Interval,
    LargeBinary,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.sql import ClauseElement

from db.kit.base import Base, HasId, HasOwner, Mapped, mapped_column
from db.kit.repository import S
from db.postgres.engine import Session
from db.postgres.statements import change_statement, statement
from db.users.accounts import User


class UserSession(HasId, HasOwner, Base):
    """A session is one family of refresh tokens and stores the hash of the latest.

    `previous_hash`, `rotation_nonce` and `rotated_at` describe the last rotation, so that a
    repeated request gets the same successor.
    """

    __tablename__ = "sessions"

    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    token_hash: Mapped[bytes] = mapped_column(LargeBinary)
    previous_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    rotation_nonce: Mapped[bytes | None] = mapped_column(LargeBinary)
    rotated_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]

    __table_args__ = (Index(None, "owner_id"), Index(None, "expires_at"))


class PasswordReset(HasOwner, Base):
    """The hash of a token that may set the password of its user once: at most one for each user."""

    __tablename__ = "password_resets"

    owner_id: Mapped[UUID] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class Sessions(Generic[S]):
    """The sessions of one user at a time; `db.users.unscoped` finds them by token."""

    def __init__(self, session: S) -> None:
        self._session = session

    async def open(
        self: "Sessions[Session]",
        session_id: UUID,
        user_id: UUID,
        *,
        token_hash: bytes,
        life: timedelta,
    ) -> bool:
        """Opens a session without a password; returns False if the user does not exist."""
        values = {"owner_id": user_id, "token_hash": token_hash, "life": life}
        return await self._session.row(self._open(), id=session_id, **values) is not None

    async def open_verified(
        self: "Sessions[Session]",
        session_id: UUID,
        user_id: UUID,
        *,
        token_hash: bytes,
        life: timedelta,
        verified: str,
    ) -> bool:
        """Opens a session; returns False if `verified` is no longer the stored password hash.

        A sign-in concurrent with a password change therefore leaves no session.
        """
        opened = await self._session.row(
            self._open_verified(),
            id=session_id,
            owner_id=user_id,
            token_hash=token_hash,
            life=life,
            verified=verified,
        )
        return opened is not None

    async def role(self, session_id: UUID, user_id: UUID) -> str | None:
        """The current role of the session's user; None if the session has ended."""
        role: str | None = await self._session.value(self._role(), id=session_id, owner_id=user_id)
        return role

    async def end(self: "Sessions[Session]", session_id: UUID, user_id: UUID) -> bool:
        """Ends a session; returns False if the user has no such session."""
        ended = await self._session.row(self._end(), id=session_id, owner_id=user_id)
        return ended is not None

    async def end_all(self: "Sessions[Session]", user_id: UUID) -> None:
        """Ends every session of a user, and voids their link to reset the password."""
        await self._session.rows(self._end_all(), owner_id=user_id)
        await self._session.rows(self._void_reset(), owner_id=user_id)

    @change_statement
    def _open(cls) -> ClauseElement:
        return cls._opened_for(User.id == bindparam("owner_id"))

    @change_statement
    def _open_verified(cls) -> ClauseElement:
        same = User.password_hash == bindparam("verified")
        return cls._opened_for(User.id == bindparam("owner_id"), same)

    @classmethod
    def _opened_for(cls, *conditions: ColumnElement[bool]) -> ClauseElement:
        """Locks the user, so that a concurrent change of password waits, or is waited for."""
        new = select(
            bindparam("id", type_=_SESSIONS.id.type),
            User.id,
            bindparam("token_hash", type_=LargeBinary()),
            func.now() + bindparam("life", type_=Interval()),
        )
        source = new.where(User.removed_at.is_(None), *conditions).with_for_update(read=True)
        columns = ["id", "owner_id", "token_hash", "expires_at"]
        return insert(UserSession).from_select(columns, source).returning(_SESSIONS.id)

    @statement
    def _role(cls) -> ClauseElement:
        return select(User.role).where(
            _SESSIONS.id == bindparam("id"),
            _SESSIONS.owner_id == bindparam("owner_id"),
            User.id == _SESSIONS.owner_id,
            *IS_LIVE,
        )

    @change_statement
    def _end(cls) -> ClauseElement:
        session = update(UserSession).where(
            _SESSIONS.id == bindparam("id"), _SESSIONS.owner_id == bindparam("owner_id")
        )
        ended = session.values(revoked_at=func.coalesce(_SESSIONS.revoked_at, func.now()))
        return ended.returning(_SESSIONS.id)

    @change_statement
    def _end_all(cls) -> ClauseElement:
        sessions = update(UserSession).where(_SESSIONS.owner_id == bindparam("owner_id"))
        return sessions.where(_SESSIONS.revoked_at.is_(None)).values(revoked_at=func.now())

    @change_statement
    def _void_reset(cls) -> ClauseElement:
        return delete(PasswordReset).where(PasswordReset.owner_id == bindparam("owner_id"))


_SESSIONS = UserSession.__table__.c
IS_LIVE: Any = (_SESSIONS.revoked_at.is_(None), _SESSIONS.expires_at > func.now())

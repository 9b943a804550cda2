"""User sessions: opened by sign-in, extended by refresh tokens, ended by sign-out."""

from datetime import datetime, timedelta
from typing import Any, Generic, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    ForeignKey,
    Index,
    Interval,
    LargeBinary,
    bindparam,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql import ClauseElement

from db.kit.base import Base, HasId, HasOwner
from db.kit.repository import S
from db.postgres.engine import Session
from db.postgres.statements import change_statement, statement
from db.users.accounts import User, UserRow


class UserSession(HasId, HasOwner, Base):
    """A session is one family of refresh tokens and stores the hash of the latest."""

    __tablename__ = "sessions"

    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    token_hash: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]

    __table_args__ = (Index(None, "owner_id"), Index(None, "expires_at"))


class Rotation(NamedTuple):
    """The result of presenting a refresh token."""

    rotated: bool
    revoked: bool
    user: UserRow


class Sessions(Generic[S]):
    """Sessions of all users, found by token."""

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
        values = {"user_id": user_id, "token_hash": token_hash, "life": life}
        return await self._session.row(self._open(), session_id=session_id, **values) is not None

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
            session_id=session_id,
            user_id=user_id,
            token_hash=token_hash,
            life=life,
            verified=verified,
        )
        return opened is not None

    async def rotate(
        self: "Sessions[Session]",
        session_id: UUID,
        *,
        presented: bytes,
        new: bytes,
        life: timedelta,
    ) -> Rotation | None:
        """Replaces the presented token if it is the latest of its family.

        Reuse of an older token revokes the family, unless it was the latest when this call began:
        then the same client sent it twice concurrently.
        """
        found = await self._session.row(
            self._rotate(), session_id=session_id, presented=presented, new_hash=new, life=life
        )
        return None if found is None else Rotation(found[0], found[1], UserRow(*found[2:]))

    async def role(self, session_id: UUID, user_id: UUID) -> str | None:
        """The current role of the session's user; None if the session has ended."""
        role: str | None = await self._session.value(
            self._role(), session_id=session_id, user_id=user_id
        )
        return role

    async def end(self: "Sessions[Session]", session_id: UUID, user_id: UUID) -> bool:
        """Ends a session; returns False if the user has no such session."""
        ended = await self._session.row(self._end(), session_id=session_id, user_id=user_id)
        return ended is not None

    async def end_all(self: "Sessions[Session]", user_id: UUID) -> None:
        await self._session.rows(self._end_all(), user_id=user_id)

    async def sweep(self: "Sessions[Session]") -> int:
        """Deletes a batch of expired sessions; returns their number."""
        return len(await self._session.rows(self._sweep()))

    @change_statement
    def _open(cls) -> ClauseElement:
        return cls._opened_for(User.id == bindparam("user_id"))

    @change_statement
    def _open_verified(cls) -> ClauseElement:
        same = User.password_hash == bindparam("verified")
        return cls._opened_for(User.id == bindparam("user_id"), same)

    @classmethod
    def _opened_for(cls, *conditions: ColumnElement[bool]) -> ClauseElement:
        """The lock makes this wait for a change of password, or the change for this."""
        new = select(
            bindparam("session_id", type_=_SESSIONS.id.type),
            User.id,
            bindparam("token_hash", type_=LargeBinary()),
            func.now() + bindparam("life", type_=Interval()),
        )
        source = new.where(User.removed_at.is_(None), *conditions).with_for_update(read=True)
        columns = ["id", "owner_id", "token_hash", "expires_at"]
        return insert(UserSession).from_select(columns, source).returning(_SESSIONS.id)

    @change_statement
    def _rotate(cls) -> ClauseElement:
        """One statement, so that of two at once the second sees what the first has done.

        What it was itself when it began, before it waited for the first, it sees in `seen`.
        """
        presented = bindparam("presented", type_=LargeBinary())
        new_hash = bindparam("new_hash", type_=LargeBinary())
        lives_until = func.now() + bindparam("life", type_=Interval())
        seen = UserSession.__table__.alias("seen")
        latest, was_latest = _SESSIONS.token_hash == presented, seen.c.token_hash == presented
        return (
            update(UserSession)
            .where(
                _SESSIONS.id == bindparam("session_id"),
                seen.c.id == _SESSIONS.id,
                User.id == _SESSIONS.owner_id,
                *_LIVE,
            )
            .values(
                token_hash=case((latest, new_hash), else_=_SESSIONS.token_hash),
                expires_at=case((latest, lives_until), else_=_SESSIONS.expires_at),
                revoked_at=case((or_(latest, was_latest), None), else_=func.now()),
            )
            .returning(
                _SESSIONS.token_hash == new_hash,
                _SESSIONS.revoked_at.is_not(None),
                *(User.__table__.c[name] for name in UserRow._fields),
            )
        )

    @statement
    def _role(cls) -> ClauseElement:
        return select(User.role).where(
            _SESSIONS.id == bindparam("session_id"),
            _SESSIONS.owner_id == bindparam("user_id"),
            User.id == _SESSIONS.owner_id,
            *_LIVE,
        )

    @change_statement
    def _end(cls) -> ClauseElement:
        mine = update(UserSession).where(
            _SESSIONS.id == bindparam("session_id"), _SESSIONS.owner_id == bindparam("user_id")
        )
        ended = mine.values(revoked_at=func.coalesce(_SESSIONS.revoked_at, func.now()))
        return ended.returning(_SESSIONS.id)

    @change_statement
    def _end_all(cls) -> ClauseElement:
        theirs = update(UserSession).where(_SESSIONS.owner_id == bindparam("user_id"))
        return theirs.where(_SESSIONS.revoked_at.is_(None)).values(revoked_at=func.now())

    @change_statement
    def _sweep(cls) -> ClauseElement:
        expired = select(_SESSIONS.id).where(_SESSIONS.expires_at <= func.now())
        batch = expired.limit(1_000).with_for_update(skip_locked=True)
        return delete(UserSession).where(_SESSIONS.id.in_(batch)).returning(_SESSIONS.id)


_SESSIONS = UserSession.__table__.c
_LIVE: Any = (_SESSIONS.revoked_at.is_(None), _SESSIONS.expires_at > func.now())

"""Sessions of all users: found by refresh token, and the sweep of expired ones."""

from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Interval, LargeBinary, bindparam, case, delete, func, or_, select, update
from sqlalchemy.sql import ClauseElement

from db.postgres.engine import Session
from db.postgres.statements import unscoped_change
from db.users.accounts import User, UserRow
from db.users.sessions import IS_LIVE, UserSession


class TokenRotation(NamedTuple):
    """The result of presenting a refresh token."""

    rotated: bool
    revoked: bool
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
        life: timedelta,
    ) -> TokenRotation | None:
        """Replaces the presented token if it is the latest of its family.

        Reuse of an older token revokes the family, unless it was the latest when this call began:
        then the same client sent it twice concurrently.
        """
        row = await self._session.row(
            self._rotate(), id=session_id, presented=presented, new_hash=new, life=life
        )
        return None if row is None else TokenRotation(row[0], row[1], UserRow(*row[2:]))

    async def sweep(self) -> int:
        """Deletes a batch of expired sessions; returns their number."""
        return len(await self._session.rows(self._sweep()))

    @unscoped_change
    def _rotate(cls) -> ClauseElement:
        """One statement, so that the second of two concurrent calls sees the result of the first.

        `seen` is the row at the start of the statement, before it waited for a lock.
        """
        presented = bindparam("presented", type_=LargeBinary())
        new_hash = bindparam("new_hash", type_=LargeBinary())
        lives_until = func.now() + bindparam("life", type_=Interval())
        seen = UserSession.__table__.alias("seen")
        latest, was_latest = _SESSIONS.token_hash == presented, seen.c.token_hash == presented
        return (
            update(UserSession)
            .where(
                _SESSIONS.id == bindparam("id"),
                seen.c.id == _SESSIONS.id,
                User.id == _SESSIONS.owner_id,
                *IS_LIVE,
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

    @unscoped_change
    def _sweep(cls) -> ClauseElement:
        expired = select(_SESSIONS.id).where(_SESSIONS.expires_at <= func.now())
        batch = expired.limit(1_000).with_for_update(skip_locked=True)
        return delete(UserSession).where(_SESSIONS.id.in_(batch)).returning(_SESSIONS.id)


_SESSIONS = UserSession.__table__.c

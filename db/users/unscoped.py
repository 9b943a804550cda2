"""Sessions of all users: found by refresh token, and the sweep of expired ones."""

from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    Interval,
    LargeBinary,
    and_,
    bindparam,
    case,
    delete,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.sql import ClauseElement

from db.postgres.engine import Session
from db.postgres.statements import unscoped_change
from db.users.accounts import User, UserRow
from db.users.sessions import IS_LIVE, UserSession

REUSE_GRACE = timedelta(seconds=30)
"""Age of a rotation up to which the replaced token is exchanged for the same successor again."""


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
    ) -> TokenRotation | None:
        """Replaces the presented token by `new` if it is the latest of its family.

        The token replaced by the last rotation changes nothing for `REUSE_GRACE`: the result has
        the nonce of that rotation. Any other token of the family revokes it.
        """
        row = await self._session.row(
            self._rotate(),
            id=session_id,
            presented=presented,
            new_hash=new,
            nonce=nonce,
            life=life,
            grace=REUSE_GRACE,
        )
        return None if row is None else TokenRotation(row[0], row[1], UserRow(*row[2:]))

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
            "expires_at": func.now() + bindparam("life", type_=Interval()),
        }
        values: dict[str, Any] = {
            name: case((latest, value), else_=_SESSIONS[name]) for name, value in rotated.items()
        }
        values["revoked_at"] = case((or_(latest, repeated), None), else_=func.now())
        found = update(UserSession).where(
            _SESSIONS.id == bindparam("id"), User.id == _SESSIONS.owner_id, *IS_LIVE
        )
        return found.values(values).returning(
            _SESSIONS.revoked_at.is_not(None),
            _SESSIONS.rotation_nonce,
            *(User.__table__.c[name] for name in UserRow._fields),
        )

    @unscoped_change
    def _sweep(cls) -> ClauseElement:
        expired = select(_SESSIONS.id).where(_SESSIONS.expires_at <= func.now())
        batch = expired.limit(1_000).with_for_update(skip_locked=True)
        return delete(UserSession).where(_SESSIONS.id.in_(batch)).returning(_SESSIONS.id)


_SESSIONS = UserSession.__table__.c

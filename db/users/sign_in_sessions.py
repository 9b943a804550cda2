"""Sign-in sessions: opened by sign-in, extended by refresh tokens, ended by sign-out."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, NamedTuple
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    ForeignKey,
    Index,
    Interval,
    LargeBinary,
    Text,
    and_,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.sql import ClauseElement

from db.kit.audit import AuditKind, record
from db.kit.base import Base, HasId, HasOwner, Mapped, TimestampText, mapped_column
from db.kit.lists.paging import Page, PageShape, SortOrder, Window
from db.kit.repository import Repository, S
from db.postgres.sessions import Session
from db.postgres.statements import change_statement, statement
from db.users.accounts import User
from db.users.acts import record_own_act

NEWEST = SortOrder("created_at")

USE_EVERY = timedelta(minutes=5)
"""Age from which the last use of a session is written again. A refresh writes it too."""

MAX_SESSIONS = 1_000
"""Of one user, with those that have ended: a session has a row for up to 90 days."""

_BATCH = 100
_MAX_DEVICE_LENGTH = 300


class Device(NamedTuple):
    """Where a client is, and what it says it is."""

    address: str = ""
    user_agent: str = ""

    def storable(self) -> "Device":
        """Without the characters that PostgreSQL or a terminal would not take, and shortened."""
        return Device(*("".join(filter(str.isprintable, t))[:_MAX_DEVICE_LENGTH] for t in self))


UNKNOWN_DEVICE = Device()


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
    created_at: Mapped[TimestampText] = mapped_column(server_default=func.now())
    expires_at: Mapped[TimestampText]
    revoked_at: Mapped[datetime | None]
    address: Mapped[str | None] = mapped_column(Text)
    user_agent: Mapped[str | None] = mapped_column(Text)
    last_used_at: Mapped[TimestampText] = mapped_column(server_default=func.now())

    __table_args__ = (Index(None, "owner_id"), Index(None, "expires_at"))


class PasswordReset(HasOwner, Base):
    """The hash of a token that may set the password of its user once: at most one for each user."""

    __tablename__ = "password_resets"

    owner_id: Mapped[UUID] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class SessionRow(NamedTuple):
    """A session without its tokens. Address and user agent are those of the last refresh."""

    id: UUID
    address: str | None
    user_agent: str | None
    created_at: TimestampText
    last_used_at: TimestampText
    expires_at: TimestampText


class SessionList(Repository[SessionRow, S]):
    """The sessions of one user, for the user."""

    model = UserSession
    row = SessionRow
    noun = "session"

    async def page(self, window: Window) -> Page[SessionRow]:
        """A page of the sessions that are live."""
        return await self.fetch_page(self._page(window.shape), window, NEWEST)

    async def count(self) -> int:
        return int(await self.value(self._count()))

    async def end(self: "SessionList[Session]", session_id: UUID) -> SessionRow:
        """Ends a session, and records it; one that has ended already stays as it is."""
        ended = await self.one_or_raise(session_id, self._end(), id=session_id)
        await record(
            self.session, AuditKind.SESSION_ENDED, owner_id=self.owner, subject_id=session_id
        )
        return ended

    @statement
    def _page(cls, shape: PageShape) -> ClauseElement:
        return cls.select_page(cls.owned().where(*IS_LIVE), NEWEST, shape)

    @statement
    def _count(cls) -> ClauseElement:
        return cls.owned(func.count()).where(*IS_LIVE)

    @change_statement
    def _end(cls) -> ClauseElement:
        ended = cls.owned_update().where(_SESSIONS.id == bindparam("id"))
        values = {"revoked_at": func.coalesce(_SESSIONS.revoked_at, func.now())}
        return ended.values(values).returning(*cls.columns())


class LiveSession(NamedTuple):
    """The current role of the user of a session that has not ended."""

    role: str
    use_is_due: bool
    """Whether `last_used_at` is older than USE_EVERY."""


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
        device: Device,
        method: str,
    ) -> bool:
        """Opens a session without a password; returns False if the user may not sign in.

        The act is recorded in the same transaction, with the `method` that replaces the password.
        """
        values: Any = {"owner_id": user_id, "token_hash": token_hash, "life": life}
        values |= device.storable()._asdict()
        if await self._session.row(self._open(), id=session_id, **values) is None:
            return False
        kind = AuditKind.SIGN_IN
        await record_own_act(self._session, kind, user_id, session_id, method=method)
        await self._remove_surplus(user_id, session_id)
        return True

    async def open_verified(
        self: "Sessions[Session]",
        session_id: UUID,
        user_id: UUID,
        *,
        token_hash: bytes,
        life: timedelta,
        device: Device,
        verified: str,
        kind: AuditKind,
    ) -> bool:
        """Opens a session; returns False if `verified` is no longer the stored password hash.

        A sign-in concurrent with a password change therefore leaves no session. `kind` is the act
        that opens it, which is recorded in the same transaction.
        """
        opened = await self._session.row(
            self._open_verified(),
            id=session_id,
            owner_id=user_id,
            token_hash=token_hash,
            life=life,
            verified=verified,
            **device.storable()._asdict(),
        )
        if opened is None:
            return False
        method = "password" if kind == AuditKind.SIGN_IN else None
        await record_own_act(self._session, kind, user_id, session_id, method=method)
        await self._remove_surplus(user_id, session_id)
        return True

    async def _remove_surplus(self: "Sessions[Session]", user_id: UUID, opened: UUID) -> None:
        """Keeps MAX_SESSIONS: removes those that have ended, then those that are idle longest."""
        for ended, was_live in await self._session.rows(
            self._remove_beyond(), owner_id=user_id, kept=MAX_SESSIONS
        ):
            if was_live:
                await record(
                    self._session,
                    AuditKind.SESSION_ENDED,
                    actor_id=user_id,
                    session_id=opened,
                    subject_id=ended,
                    details={"reason": "LIMIT"},
                )

    async def live(self, session_id: UUID, user_id: UUID) -> LiveSession | None:
        """None if the session has ended, or its user may not sign in."""
        row = await self._session.row(
            self._live(), id=session_id, owner_id=user_id, use_every=USE_EVERY
        )
        return None if row is None else LiveSession(*row)

    async def record_use(self: "Sessions[Session]", session_id: UUID, user_id: UUID) -> None:
        """One statement with its condition: of many processes, one writes."""
        values: Any = {"id": session_id, "owner_id": user_id, "use_every": USE_EVERY}
        await self._session.rows(self._record_use(), **values)

    async def end(self: "Sessions[Session]", session_id: UUID, user_id: UUID) -> bool:
        """Signs a session out, and records it; returns False if the user has no such session."""
        if await self._session.row(self._end(), id=session_id, owner_id=user_id) is None:
            return False
        await record_own_act(self._session, AuditKind.SIGN_OUT, user_id, session_id)
        return True

    async def end_all(self: "Sessions[Session]", user_id: UUID) -> int:
        """Ends every session of a user, and voids their link to reset the password.

        Returns the number of sessions that were live.
        """
        ended = await self._session.rows(self._end_all(), owner_id=user_id)
        await self._session.rows(self._void_reset(), owner_id=user_id)
        return len(ended)

    async def all_live(self, user_id: UUID) -> Sequence[SessionRow]:
        """For the operator: up to 1,000, the latest first."""
        found = await self._session.rows(self._all_live(), owner_id=user_id)
        return [SessionRow(*row) for row in found]

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
            bindparam("address", type_=Text()),
            bindparam("user_agent", type_=Text()),
        )
        source = new.where(*MAY_SIGN_IN, *conditions).with_for_update(read=True)
        columns = ["id", "owner_id", "token_hash", "expires_at", "address", "user_agent"]
        return insert(UserSession).from_select(columns, source).returning(_SESSIONS.id)

    @change_statement
    def _remove_beyond(cls) -> ClauseElement:
        owner = _SESSIONS.owner_id == bindparam("owner_id")
        order = (and_(*IS_LIVE).desc(), _SESSIONS.last_used_at.desc(), _SESSIONS.id.desc())
        surplus = (
            select(_SESSIONS.id)
            .where(owner)
            .order_by(*order)
            .offset(bindparam("kept", type_=BigInteger()))
            .limit(_BATCH)
        )
        removed = delete(UserSession).where(owner, _SESSIONS.id.in_(surplus))
        return removed.returning(_SESSIONS.id, and_(*IS_LIVE))

    @statement
    def _live(cls) -> ClauseElement:
        return select(User.role, _use_is_due()).where(
            _SESSIONS.id == bindparam("id"),
            _SESSIONS.owner_id == bindparam("owner_id"),
            User.id == _SESSIONS.owner_id,
            *IS_LIVE,
            *MAY_SIGN_IN,
        )

    @statement
    def _all_live(cls) -> ClauseElement:
        columns = [_SESSIONS[name] for name in SessionRow._fields]
        own = select(*columns).where(_SESSIONS.owner_id == bindparam("owner_id"), *IS_LIVE)
        return own.order_by(_SESSIONS.created_at.desc()).limit(1_000)

    @change_statement
    def _record_use(cls) -> ClauseElement:
        used = update(UserSession).where(
            _SESSIONS.id == bindparam("id"),
            _SESSIONS.owner_id == bindparam("owner_id"),
            _use_is_due(),
        )
        return used.values(last_used_at=func.now()).returning(_SESSIONS.id)

    @change_statement
    def _end(cls) -> ClauseElement:
        session = update(UserSession).where(
            _SESSIONS.id == bindparam("id"), _SESSIONS.owner_id == bindparam("owner_id")
        )
        ended = session.values(revoked_at=func.coalesce(_SESSIONS.revoked_at, func.now()))
        return ended.returning(_SESSIONS.id)

    @change_statement
    def _end_all(cls) -> ClauseElement:
        sessions = update(UserSession).where(_SESSIONS.owner_id == bindparam("owner_id"), *IS_LIVE)
        return sessions.values(revoked_at=func.now()).returning(_SESSIONS.id)

    @change_statement
    def _void_reset(cls) -> ClauseElement:
        return delete(PasswordReset).where(PasswordReset.owner_id == bindparam("owner_id"))


def _use_is_due() -> ColumnElement[bool]:
    due: ColumnElement[bool] = _SESSIONS.last_used_at < func.now() - bindparam(
        "use_every", type_=Interval()
    )
    return due


_SESSIONS = UserSession.__table__.c
MAY_SIGN_IN: Any = (User.removed_at.is_(None), User.suspended_at.is_(None))
IS_LIVE: Any = (_SESSIONS.revoked_at.is_(None), _SESSIONS.expires_at > func.now())

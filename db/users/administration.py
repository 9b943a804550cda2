"""What admins do with the accounts of others: list, search, change roles, suspend, end sessions."""

import logging
from datetime import datetime
from typing import Generic, NamedTuple
from uuid import UUID

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Text,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.sql import ClauseElement

from db.errors import Conflict, HowdahError, NotFound
from db.kit.paging import Page, SortOrder, Window, make_page, select_page, window_values
from db.kit.repository import S
from db.kit.text_rules import Required, contains_pattern
from db.postgres.engine import Database, Session
from db.postgres.statements import change_statement, statement
from db.users.accounts import Role, User, UserRow
from db.users.sessions import Sessions
from db.users.tokens.access_changes import AccessChanges

log = logging.getLogger(__name__)

NEWEST = SortOrder("created_at")
search_rule = Required("search", max_length=200)


class UserDirectory(Generic[S]):
    """The accounts of all users, for admins."""

    def __init__(self, session: S) -> None:
        self._session = session

    async def page(self, window: Window, search: str | None = None) -> Page[UserRow]:
        values = window_values(window, NEWEST, kind=datetime) | _search_values(search)
        rows = await self._session.rows(self._page(window.shape, search is not None), **values)
        return make_page([UserRow(*row) for row in rows], window, NEWEST)

    async def count(self, search: str | None = None) -> int:
        values = _search_values(search)
        return int(await self._session.value(self._count(search is not None), **values))

    @statement
    def _page(cls, shape: tuple[bool, bool, bool], searches: bool) -> ClauseElement:  # noqa: FBT001 - a shape, passed by position
        users = select(*_COLUMNS).where(_condition(searches=searches))
        return select_page(users, NEWEST, shape, _USERS)

    @statement
    def _count(cls, searches: bool) -> ClauseElement:  # noqa: FBT001 - as above
        return select(func.count()).where(_condition(searches=searches))


class _LockedUser(NamedTuple):
    id: UUID
    is_active_admin: bool


class _Changes:
    def __init__(self, session: Session) -> None:
        self._session = session

    async def lock(self, user_id: UUID) -> list[_LockedUser]:
        """Locks the user and all active admins, in the order of their IDs.

        Of two admins who demote each other at the same time, the second sees the first demoted.
        """
        return [_LockedUser(*row) for row in await self._session.rows(self._lock(), id=user_id)]

    async def change(self, user_id: UUID, *, role: Role | None, suspended: bool | None) -> UserRow:
        row = await self._session.row(
            self._change(), id=user_id, new_role=role, suspended=suspended
        )
        return UserRow(*row)  # type: ignore[misc]  # it is locked, so it exists

    @statement
    def _lock(cls) -> ClauseElement:
        is_active_admin = and_(_USERS.role == Role.ADMIN, _USERS.suspended_at.is_(None))
        wanted = or_(_USERS.id == bindparam("id"), is_active_admin)
        locked = select(_USERS.id, is_active_admin).where(wanted, _USERS.removed_at.is_(None))
        return locked.order_by(_USERS.id).with_for_update()

    @change_statement
    def _change(cls) -> ClauseElement:
        suspended = bindparam("suspended", type_=Boolean())
        at = case(
            (suspended, func.coalesce(_USERS.suspended_at, func.now())),
            (suspended.is_(None), _USERS.suspended_at),
            else_=None,
        )
        values = {
            "role": func.coalesce(bindparam("new_role", type_=Text()), _USERS.role),
            "suspended_at": at,
            "updated_at": func.now(),
            "version": _USERS.version + 1,
        }
        changed = update(User).where(_USERS.id == bindparam("id"))
        return changed.values(values).returning(*_COLUMNS)


class Administration:
    """Changes accounts, and tells every process."""

    def __init__(self, database: Database, access: AccessChanges) -> None:
        self._database = database
        self._access = access

    async def update(
        self, user_id: UUID, *, role: Role | None = None, suspended: bool | None = None
    ) -> UserRow:
        """Sets the role, suspends or resumes; None leaves a value as it is.

        Suspending ends all sessions. Access tokens stop working and work again after `resume`.

        Raises:
            NotFound: The user does not exist.
            Conflict: The last admin who can sign in would be lost.
        """

        async def change(session: Session) -> UserRow:
            changes = _Changes(session)
            locked = await changes.lock(user_id)
            if user_id not in [user.id for user in locked]:
                raise _user_not_found()
            if (role is Role.USER or suspended) and _is_last_admin(user_id, locked):
                raise Conflict(
                    "This user is the last admin who can sign in.",
                    hint="Give another user the ADMIN role first.",
                    field="id",
                )
            if suspended:
                await Sessions(session).end_all(user_id)
            return await changes.change(user_id, role=role, suspended=suspended)

        user = await self._database.transaction(change)
        await self._access.announce(user_id)
        log.info(
            "user %s now has the role %s, suspended: %s", user_id, user.role, user.suspended_at
        )
        return user

    async def end_sessions(self, user_id: UUID) -> int:
        """Ends every session of a user; returns how many were live."""
        ended = await self._database.transaction(lambda session: Sessions(session).end_all(user_id))
        await self._access.announce(user_id)
        return ended


def _is_last_admin(user_id: UUID, locked: list[_LockedUser]) -> bool:
    return [user.id for user in locked if user.is_active_admin] == [user_id]


def _search_values(search: str | None) -> dict[str, str]:
    if search is None:
        return {}
    return {"search": contains_pattern(search_rule.checked(search))}


def _condition(*, searches: bool) -> ColumnElement[bool]:
    exists = _USERS.removed_at.is_(None)
    if not searches:
        return exists
    pattern = bindparam("search", type_=Text())
    found = (_USERS[name].ilike(pattern, escape="\\") for name in ("email", "name"))
    return and_(exists, or_(*found))


def _user_not_found() -> HowdahError:
    return NotFound(
        "The user does not exist.",
        hint="Run `howdah user list` to see all users.",
        field="id",
    )


_USERS = User.__table__.c
_COLUMNS = [_USERS[name] for name in UserRow._fields]

"""All users for admins: lists, searches, and changes of roles and suspension."""

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

from db.kit.lists.paging import (
    Page,
    PageShape,
    SortOrder,
    Window,
    make_page,
    select_page,
    window_values,
)
from db.kit.repository import S
from db.kit.text_rules import Required, contains_pattern
from db.postgres.sessions import Session
from db.postgres.statements import unscoped_change, unscoped_statement
from db.users.accounts import Role, User, UserRow

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

    @unscoped_statement
    def _page(cls, shape: PageShape, searches: bool) -> ClauseElement:  # noqa: FBT001 - a shape, passed by position
        users = select(*_COLUMNS).where(_condition(searches=searches))
        return select_page(users, NEWEST, shape, _USERS)

    @unscoped_statement
    def _count(cls, searches: bool) -> ClauseElement:  # noqa: FBT001 - as above
        return select(func.count()).where(_condition(searches=searches))


class LockedUser(NamedTuple):
    """A user whose row is locked until the end of the transaction."""

    id: UUID
    is_active_admin: bool


class UserChanges:
    """Changes the role and the suspension of a user in one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def lock(self, user_id: UUID) -> list[LockedUser]:
        """Locks the user and all active admins, in the order of their IDs.

        Of two admins who demote each other at the same time, the second sees the first demoted.
        """
        return [LockedUser(*row) for row in await self._session.rows(self._lock(), id=user_id)]

    async def change(self, user_id: UUID, *, role: Role | None, suspended: bool | None) -> UserRow:
        row = await self._session.row(
            self._change(), id=user_id, new_role=role, suspended=suspended
        )
        return UserRow(*row)  # type: ignore[misc]  # it is locked, so it exists

    @unscoped_statement
    def _lock(cls) -> ClauseElement:
        is_active_admin = and_(_USERS.role == Role.ADMIN, _USERS.suspended_at.is_(None))
        wanted = or_(_USERS.id == bindparam("id"), is_active_admin)
        locked = select(_USERS.id, is_active_admin).where(wanted, _USERS.removed_at.is_(None))
        return locked.order_by(_USERS.id).with_for_update()

    @unscoped_change
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


_USERS = User.__table__.c
_COLUMNS = [_USERS[name] for name in UserRow._fields]

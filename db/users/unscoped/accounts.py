"""All users: found by ID, e-mail or subject before there is a viewer, or for the operator."""

from collections.abc import Sequence
from typing import Any, Generic
from uuid import UUID

from sqlalchemy import Select, bindparam, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql import ClauseElement

from db.errors import Conflict
from db.kit.audit import AuditKind
from db.kit.base import new_id
from db.kit.repository import S
from db.postgres.sessions import Session
from db.postgres.statements import unscoped_change, unscoped_statement
from db.users.accounts import ExternalUser, Role, User, UserRow
from db.users.acts import record_act_on


class Users(Generic[S]):
    """All users: for authentication and the operator. The API uses `OwnUser`."""

    def __init__(self, session: S) -> None:
        self._session = session

    async def by_id(self, user_id: UUID) -> UserRow | None:
        return _row(await self._session.row(self._by_id(), id=user_id))

    async def by_email(self, email: str) -> tuple[UserRow, str | None] | None:
        """An own account and its password hash."""
        row = await self._session.row(self._by_email(), email=email)
        return None if row is None else (UserRow(*row[:-1]), row[-1])

    async def with_password(self, user_id: UUID) -> tuple[UserRow, str] | None:
        """A user and their password hash; None if they have no password."""
        row = await self._session.row(self._with_password(), id=user_id)
        return None if row is None else (UserRow(*row[:-1]), row[-1])

    async def page(self, after: UUID | None = None) -> Sequence[UserRow]:
        """Up to 500 users after `after`, oldest first."""
        rows = await self._session.rows(self._page(), after=after or UUID(int=0))
        return [UserRow(*row) for row in rows]

    async def add(
        self: "Users[Session]",
        *,
        email: str,
        name: str,
        password_hash: str | None,
        role: str = Role.USER,
    ) -> UserRow:
        added = _row(
            await self._session.row(
                self._add(),
                id=new_id(),
                email=email,
                name=name,
                password_hash=password_hash,
                role=role,
            )
        )
        if added is None:
            raise Conflict(
                "An account with this e-mail address already exists.",
                hint="Sign in with it, or use another address.",
                field="email",
            )
        return added

    async def create(
        self: "Users[Session]",
        *,
        email: str,
        name: str,
        password_hash: str | None,
        role: str = Role.USER,
    ) -> UserRow:
        """Like `add`, for the operator, whose act is recorded: it needs a transaction."""
        user = await self.add(email=email, name=name, password_hash=password_hash, role=role)
        await record_act_on(self._session, AuditKind.USER_CREATED, user.id, role=role)
        return user

    async def get_or_create_external(
        self: "Users[Session]", person: ExternalUser, *, may_create: bool = True
    ) -> UserRow | None:
        """Returns the user of an external identity, created if new.

        None if they were removed or suspended, or if they are new and `may_create` is false.
        """
        subject: Any = {"issuer": person.issuer, "subject": person.subject}
        record = await self._session.row(self._by_subject(), **subject)
        if record is None:
            if not may_create:
                return None
            new = person._asdict() | {"id": new_id()}
            (record,) = await self._session.rows(self._get_or_create_external(), **new)
            if record[0] == new["id"]:  # else another first token has created the user meanwhile
                kind, user_id = AuditKind.USER_CREATED, record[0]
                await record_act_on(self._session, kind, user_id, issuer=person.issuer)
        user = UserRow(*record[:-1])
        return None if record[-1] or user.suspended_at else user

    async def set_password(
        self: "Users[Session]", user_id: UUID, *, verified: str, password_hash: str
    ) -> bool:
        """Returns False if `verified` is no longer the stored hash."""
        values = {"verified": verified, "new_hash": password_hash}
        return await self._session.row(self._set_password(), id=user_id, **values) is not None

    async def remove(self: "Users[Session]", user_id: UUID) -> bool:
        """Deletes a user and everything they own, and records the act in the same transaction.

        An external user leaves a tombstone, or their next token would create them again.
        """
        user = await self.by_id(user_id)
        row = await self._session.row(self._remove(), id=user_id)
        if row is not None and user is not None:
            kind, name = AuditKind.USER_REMOVED, user.email or user.name
            await record_act_on(self._session, kind, user_id, name=name, role=user.role)
        if row is not None and row[0] is not None:
            issuer, subject = row
            await self._session.rows(
                self._insert_tombstone(), id=new_id(), issuer=issuer, subject=subject
            )
        return row is not None

    @classmethod
    def _select_active(cls, *more: Any) -> Select[Any]:
        return select(*_COLUMNS, *more).where(_USERS.removed_at.is_(None))

    @unscoped_statement
    def _by_id(cls) -> ClauseElement:
        return cls._select_active().where(_USERS.id == bindparam("id"))

    @unscoped_statement
    def _by_email(cls) -> ClauseElement:
        accounts = cls._select_active(_USERS.password_hash).where(_USERS.issuer.is_(None))
        return accounts.where(_USERS.email == bindparam("email"))

    @unscoped_statement
    def _with_password(cls) -> ClauseElement:
        known = cls._select_active(_USERS.password_hash).where(_USERS.password_hash.is_not(None))
        return known.where(_USERS.id == bindparam("id"))

    @unscoped_statement
    def _by_subject(cls) -> ClauseElement:
        known = select(*_COLUMNS, _USERS.removed_at).where(_USERS.issuer == bindparam("issuer"))
        return known.where(_USERS.subject == bindparam("subject"))

    @unscoped_statement
    def _page(cls) -> ClauseElement:
        later = cls._select_active().where(_USERS.id > bindparam("after"))
        return later.order_by(_USERS.id).limit(500)

    @unscoped_change
    def _add(cls) -> ClauseElement:
        names = ("id", "email", "name", "role", "password_hash")
        new = insert(User).values({name: bindparam(name) for name in names})
        return new.on_conflict_do_nothing().returning(*_COLUMNS)

    @unscoped_change
    def _get_or_create_external(cls) -> ClauseElement:
        """Concurrent first tokens create one user: the later insert returns the existing row."""
        names = ("id", "email", "name", "issuer", "subject")
        new = insert(User).values({name: bindparam(name) for name in names})
        upsert = new.on_conflict_do_update(
            index_elements=[_USERS.issuer, _USERS.subject], set_={"issuer": new.excluded.issuer}
        )
        return upsert.returning(*_COLUMNS, _USERS.removed_at)

    @unscoped_change
    def _set_password(cls) -> ClauseElement:
        same = _USERS.password_hash == bindparam("verified")
        change = update(User).where(_USERS.id == bindparam("id"), same)
        return change.values(password_hash=bindparam("new_hash"), **_AUDIT).returning(_USERS.id)

    @unscoped_change
    def _remove(cls) -> ClauseElement:
        deleted = delete(User).where(_USERS.id == bindparam("id"), _USERS.removed_at.is_(None))
        return deleted.returning(_USERS.issuer, _USERS.subject)

    @unscoped_change
    def _insert_tombstone(cls) -> ClauseElement:
        known: dict[str, Any] = {name: bindparam(name) for name in ("id", "issuer", "subject")}
        return insert(User).values(**known, name="", removed_at=func.now())


_USERS = User.__table__.c
_COLUMNS = [_USERS[name] for name in UserRow._fields]
_AUDIT: dict[str, Any] = {"updated_at": func.now(), "version": _USERS.version + 1}


def _row(row: Any) -> UserRow | None:
    return None if row is None else UserRow(*row)

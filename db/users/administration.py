"""What admins do with the accounts of others: change roles, suspend, end sessions."""

import logging
from uuid import UUID

from db.errors import Conflict, HowdahError, NotFound
from db.kit.audit import AuditKind
from db.postgres.engine import Database
from db.postgres.sessions import Session
from db.users.accounts import Role, UserRow
from db.users.acts import record_act_on
from db.users.sign_in_sessions import Sessions
from db.users.tokens.access_changes import AccessChanges
from db.users.unscoped.directory import LockedUser, UserChanges

log = logging.getLogger(__name__)


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
            changes = UserChanges(session)
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
            await _record(session, user_id, role=role, suspended=suspended)
            return await changes.change(user_id, role=role, suspended=suspended)

        user = await self._database.transaction(change)
        await self._access.announce(user_id)
        log.info(
            "user %s now has the role %s, suspended: %s", user_id.hex, user.role, user.suspended_at
        )
        return user

    async def end_sessions(self, user_id: UUID) -> int:
        """Ends every session of a user; returns how many were live."""

        async def end(session: Session) -> int:
            count = await Sessions(session).end_all(user_id)
            await record_act_on(session, AuditKind.SESSIONS_ENDED, user_id, sessions=count)
            return count

        ended = await self._database.transaction(end)
        await self._access.announce(user_id)
        return ended


async def _record(
    session: Session, user_id: UUID, *, role: Role | None, suspended: bool | None
) -> None:
    if role is not None:
        await record_act_on(session, AuditKind.USER_ROLE_CHANGED, user_id, role=role)
    if suspended is not None:
        kind = AuditKind.USER_SUSPENDED if suspended else AuditKind.USER_RESUMED
        await record_act_on(session, kind, user_id)


def _is_last_admin(user_id: UUID, locked: list[LockedUser]) -> bool:
    return [user.id for user in locked if user.is_active_admin] == [user_id]


def _user_not_found() -> HowdahError:
    return NotFound(
        "The user does not exist.",
        hint="Run `howdah user list` to see all users.",
        field="id",
    )

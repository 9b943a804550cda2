"""Records acts on accounts in the audit log."""

from typing import Protocol
from uuid import UUID

from db.kit.audit import AuditKind, AuditOutcome, record, record_alone
from db.postgres.engine import Database, Session


class Account(Protocol):
    """The row of a user."""

    @property
    def id(self) -> UUID: ...
    @property
    def email(self) -> str | None: ...
    @property
    def name(self) -> str: ...


async def record_own_act(
    session: Session,
    kind: AuditKind,
    user: Account,
    session_id: UUID | None = None,
    **details: object,
) -> None:
    """Records an act that has itself authenticated the user whose account it concerns."""
    await record(
        session,
        kind,
        actor_id=user.id,
        session_id=session_id,
        subject_id=user.id,
        subject_name=user.email or user.name,
        details=details,
    )


async def record_act_on(
    session: Session, kind: AuditKind, user: Account, **details: object
) -> None:
    """Records an act of the present actor on the account of `user`, mostly another one."""
    await record(
        session,
        kind,
        owner_id=user.id,
        subject_id=user.id,
        subject_name=user.email or user.name,
        details=details,
    )


async def record_failed_sign_in(
    database: Database, email: str, user: Account | None, *, digest: str
) -> None:
    """An address of no account is recorded as a digest: it may be a password in the wrong field."""
    user_id = None if user is None else user.id
    await record_alone(
        database,
        AuditKind.SIGN_IN,
        outcome=AuditOutcome.FAILED,
        owner_id=user_id,
        subject_id=user_id,
        subject_name=email if user else f"unknown:{digest}",
        details={"method": "password"},
    )


async def record_failure(database: Database, kind: AuditKind, user: Account | None = None) -> None:
    """Records a wrong password or token, by which nothing was changed."""
    await record_alone(
        database,
        kind,
        outcome=AuditOutcome.FAILED,
        owner_id=None if user is None else user.id,
        subject_id=None if user is None else user.id,
        subject_name=None if user is None else user.email or user.name,
    )

"""Records acts on accounts in the audit log."""

from uuid import UUID

from db.kit.audit import AuditKind, AuditOutcome, record, record_alone
from db.postgres.engine import Database
from db.postgres.sessions import Session


async def record_own_act(
    session: Session,
    kind: AuditKind,
    user_id: UUID,
    session_id: UUID | None = None,
    **details: object,
) -> None:
    """Records an act that has itself authenticated the user whose account it concerns."""
    await record(
        session,
        kind,
        actor_id=user_id,
        session_id=session_id,
        subject_id=user_id,
        details=details,
    )


async def record_act_on(
    session: Session, kind: AuditKind, user_id: UUID, *, name: str | None = None, **details: object
) -> None:
    """Records an act of the present actor on the account of a user, mostly another one."""
    await record(
        session, kind, owner_id=user_id, subject_id=user_id, subject_name=name, details=details
    )


async def record_failed_sign_in(
    database: Database, email: str, user_id: UUID | None, *, digest: str
) -> None:
    """An address of no account is recorded as a digest: it may be a password in the wrong field."""
    await record_alone(
        database,
        AuditKind.SIGN_IN,
        outcome=AuditOutcome.FAILED,
        owner_id=user_id,
        subject_id=user_id,
        subject_name=email if user_id else f"unknown:{digest}",
        details={"method": "password"},
    )


async def record_failure(database: Database, kind: AuditKind, user_id: UUID | None = None) -> None:
    """Records a wrong password or token, by which nothing was changed."""
    failed = AuditOutcome.FAILED
    await record_alone(database, kind, outcome=failed, owner_id=user_id, subject_id=user_id)

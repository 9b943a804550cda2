"""Records acts, in the transaction of the act wherever it has one."""

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec

from db.errors import HowdahError
from db.kit.audit.actor import current_actor
from db.kit.audit.kinds import AuditKind, AuditOutcome
from db.kit.audit.unscoped import INSERT
from db.kit.base import new_id
from db.postgres.engine import Database
from db.postgres.sessions import Session

recorded: Counter[AuditKind] = Counter()
"""The events that this process has written, with those of transactions that were repeated."""


async def record(  # noqa: PLR0913 - the columns of an event
    session: Session,
    kind: AuditKind,
    *,
    outcome: AuditOutcome = AuditOutcome.SUCCEEDED,
    owner_id: UUID | None = None,
    actor_id: UUID | None = None,
    session_id: UUID | None = None,
    subject_id: UUID | None = None,
    subject_name: str | None = None,
    details: Mapping[str, object] | None = None,
) -> None:
    """Adds an event to the transaction of `session`: both are committed, or none.

    Who acts is `current_actor`; an act that authenticates passes `actor_id` and `session_id`.
    `owner_id` is the user whom the event concerns, by default the one who acts. `subject_name` is
    by default the address of the user with `subject_id`. `details` never contain a secret; those
    that are None are omitted.
    """
    actor = current_actor.get()
    actor_id = actor_id or actor.user_id
    recorded[kind] += 1
    shown = {"operator": actor.operator, **(details or {})}
    await session.rows(
        INSERT,
        id=new_id(),
        owner_id=owner_id or actor_id,
        kind=kind,
        outcome=outcome,
        actor_id=actor_id,
        session_id=session_id or actor.session_id,
        token_id=actor.token_id,
        request_id=actor.request_id,
        address=actor.shown_address,
        subject_id=subject_id,
        subject_name=subject_name,
        details=msgspec.json.encode(
            {name: value for name, value in shown.items() if value is not None}
        ).decode(),
    )


async def record_alone(database: Database, kind: AuditKind, **event: Any) -> None:
    """Like `record`, for an act that is not a transaction of ours, after it."""
    await database.write(lambda session: record(session, kind, **event))


@dataclass(slots=True)
class Recording:
    """The event of an act that is under way. The act may add to it."""

    subject_name: str | None = None
    details: dict[str, object] = field(default_factory=dict)
    outcome: AuditOutcome = AuditOutcome.SUCCEEDED

    def fail(self, code: str) -> None:
        """`code` is that of a HowdahError."""
        self.outcome = AuditOutcome.FAILED
        self.details["error"] = code


@contextlib.asynccontextmanager
async def recording_outcome(
    database: Database,
    kind: AuditKind,
    *,
    owner_id: UUID | None = None,
    subject_id: UUID | None = None,
) -> AsyncIterator[Recording]:
    """Records the block after its end, as failed if it raises an error."""
    recording = Recording()
    try:
        yield recording
    except BaseException as error:
        recording.fail(error.code if isinstance(error, HowdahError) else HowdahError.code)
        raise
    finally:
        await record_alone(
            database,
            kind,
            outcome=recording.outcome,
            owner_id=owner_id,
            subject_id=subject_id,
            subject_name=recording.subject_name,
            details=recording.details,
        )

"""Advisory locks, held until the end of the transaction."""

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Uuid, bindparam, func

from db.kit.base import OwnerId
from db.postgres.sessions import Session


def owner_lock(subject: str) -> ColumnElement[Any]:
    """Takes the lock under which the `subject` of one owner is changed by one transaction a time.

    A statement sees what was committed before it began, so what the lock protects is read by a
    later one.
    """
    name = func.concat(f"{subject} of ", bindparam("owner_id", type_=Uuid()))
    return func.pg_advisory_xact_lock(func.hashtextextended(name, 0))


def run_queue_lock() -> ColumnElement[Any]:
    """The lock under which the runs of an owner are accepted and claimed."""
    return owner_lock("runs")


class RunQueueLock(NamedTuple):
    """Proof that a transaction has taken `run_queue_lock`: made only where a statement takes it."""

    session: Session
    owner: OwnerId

    def require_held_by(self, session: Session, owner: OwnerId) -> None:
        if self.session is not session or self.owner != owner:
            raise RuntimeError("this lock is that of another transaction or owner")

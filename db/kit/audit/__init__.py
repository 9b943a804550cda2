"""The audit log, into which every domain records its acts: `await record(session, kind, ...)`."""

from db.kit.audit.actor import Actor, act_as, acting, current_actor
from db.kit.audit.kinds import AuditKind, AuditOutcome
from db.kit.audit.record import Recording, record, record_alone, recorded, recording_outcome
from db.kit.audit.table import AuditEvent

__all__ = [
    "Actor",
    "AuditEvent",
    "AuditKind",
    "AuditOutcome",
    "Recording",
    "act_as",
    "acting",
    "current_actor",
    "record",
    "record_alone",
    "recorded",
    "recording_outcome",
]

"""The audit log as its readers see it. `db.kit.audit` records into it."""

from db.audit.commands import has_audit_log, record_if_migrated
from db.audit.repository import AuditEventRow, AuditEvents, AuditFilter
from db.audit.stream import (
    StreamPosition,
    begin_stream,
    events_after,
    present_position,
    write_next,
)
from db.audit.unscoped import UnscopedAuditEvents, newest_events, sweep

__all__ = [
    "AuditEventRow",
    "AuditEvents",
    "AuditFilter",
    "StreamPosition",
    "UnscopedAuditEvents",
    "begin_stream",
    "events_after",
    "has_audit_log",
    "newest_events",
    "present_position",
    "record_if_migrated",
    "sweep",
    "write_next",
]

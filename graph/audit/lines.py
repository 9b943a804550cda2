"""Audit events as text: a JSON object in a line, or columns for a terminal."""

import msgspec

from db.audit import AuditEventRow
from graph.audit.types import subject_prefix
from graph.kit.ids import id_of


def to_json(event: AuditEventRow) -> bytes:
    """The fields of `AuditEvent` as one JSON object, without those that are null."""
    ids = {
        "id": ("audit", event.id),
        "actorId": ("user", event.actor_id),
        "userId": ("user", event.owner_id),
        "sessionId": ("signin", event.session_id),
        "accessTokenId": ("token", event.token_id),
        "subjectId": (subject_prefix(event.kind), event.subject_id),
    }
    fields: dict[str, object] = {
        name: None if row_id is None else id_of(prefix, row_id)
        for name, (prefix, row_id) in ids.items()
    }
    fields |= {
        "createdAt": event.created_at,
        "kind": event.kind,
        "outcome": event.outcome,
        "actorEmail": event.actor_email,
        "requestId": event.request_id or None,
        "clientAddress": event.address or None,
        "subjectName": event.subject_name or None,
        "details": msgspec.json.decode(event.details),
    }
    return msgspec.json.encode({name: value for name, value in fields.items() if value is not None})


def to_columns(event: AuditEventRow) -> str:
    """One line, without the control characters that names and statements may contain."""
    fields = (
        event.created_at[:19].replace("T", " "),
        f"{event.kind:22}",
        f"{event.outcome:9}",
        event.actor_email or (id_of("user", event.actor_id) if event.actor_id else "-"),
        event.address or "-",
        event.subject_name or "-",
        event.details,
    )
    return "".join(c if c.isprintable() else " " for c in "  ".join(fields))

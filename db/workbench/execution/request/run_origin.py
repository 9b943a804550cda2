"""What the audit log will say of a run besides its row: kept from its submission to its end."""

import msgspec

from db.connections import ConnectionRow
from db.kit.audit import current_actor
from db.security.redaction import redacted
from db.workbench.copy.import_request import Import

MAX_AUDITED_CHARS = 10_000


class _Origin(msgspec.Struct, rename="camel", omit_defaults=True):
    """The attributes are keys of the event's `details`, except those of the request.

    The trigger `audit_query_run` of migration 0011 reads it.
    """

    request_id: str
    address: str
    session_id: str | None
    token_id: str | None
    connection: str
    connection_id: str
    host: str
    port: int
    database: str
    username: str
    statement: str | None
    """None if it is the run's, which contains no secret and is short enough."""
    statement_length: int | None
    imported_file_id: str | None = None


def run_origin(connection: ConnectionRow, statement: str, *, imported: Import | None = None) -> str:
    """Returns JSON: who submits the run from where, and to which database as whom."""
    actor = current_actor.get()
    shown = redacted(statement[:MAX_AUDITED_CHARS])
    is_whole = len(statement) <= MAX_AUDITED_CHARS
    origin = _Origin(
        request_id=actor.request_id,
        address=actor.shown_address,
        session_id=None if actor.session_id is None else actor.session_id.hex,
        token_id=None if actor.token_id is None else actor.token_id.hex,
        connection=connection.name,
        connection_id=f"conn_{connection.id.hex}",
        host=connection.host,
        port=connection.port,
        database=connection.database,
        username=connection.username,
        statement=None if shown == statement else shown,
        statement_length=None if is_whole else len(statement),
        imported_file_id=imported and f"file_{imported.source.file_id.hex}",
    )
    return msgspec.json.encode(origin).decode()

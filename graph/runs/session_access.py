"""Which sessions an access token for programs may use."""

from uuid import UUID

from db.database_sessions import DatabaseSessions
from db.errors import Forbidden
from graph.context import Context


async def require_usable(context: Context, session_id: UUID) -> None:
    """Raises Forbidden if the viewer may only read, and the session may write."""
    if not context.signed_in.must_read_only:
        return
    row = await context.read(DatabaseSessions, lambda rows: rows.require(session_id))
    if not row.read_only:
        raise Forbidden(
            "This access token may run read-only statements only, and the session may write.",
            hint="Open a session with this token, or use a token with WORKBENCH_WRITE.",
            field="sessionId",
        )

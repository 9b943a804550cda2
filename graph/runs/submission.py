"""What the mutations that start runs have in common: where, with which rights, how long to wait."""

from typing import Any
from uuid import UUID

from db.database_sessions import DatabaseSessions
from db.errors import BadInput, Forbidden
from db.kit.number_rules import require_between
from db.runs import RunRow
from graph.context import Context
from graph.kit.ids import parse_id

MAX_WAIT_MS = 30_000


def parse_destination(fields: dict[str, Any], *, required: bool = True) -> None:
    """Replaces `connection_id` and `session_id` of an input by their UUIDs or None.

    Raises:
        BadInput: Both are set, or neither although one is `required`.
    """
    connection_id, session_id = fields.get("connection_id"), fields.get("session_id")
    is_missing = connection_id is None and session_id is None
    is_double = connection_id is not None and session_id is not None
    if is_double or (required and is_missing):
        raise BadInput(
            "Neither `connectionId` nor `sessionId` is set."
            if is_missing
            else "Both `connectionId` and `sessionId` are set.",
            hint="Pass `connectionId` to use a connection for this request alone, or `sessionId` "
            "to use an open session.",
            field="connectionId",
        )
    fields["connection_id"] = parse_connection_id(connection_id)
    fields["session_id"] = (
        None if session_id is None else parse_id("session", session_id, argument="sessionId")
    )


def parse_connection_id(text: str | None) -> UUID | None:
    return None if text is None else parse_id("conn", text, argument="connectionId")


async def apply_token_limits(context: Context, fields: dict[str, Any]) -> None:
    """Makes a statement read-only if the access token may only read.

    Raises:
        Forbidden: The session may write.
    """
    if fields["session_id"] is not None:
        await require_usable(context, fields["session_id"])
    if context.signed_in.must_read_only:
        fields["read_only"] = True


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


def take_wait_ms(fields: dict[str, Any]) -> int:
    """Removes `wait_ms` from the fields of an input.

    Raises:
        BadInput: It is out of range.
    """
    wait_ms: int = fields.pop("wait_ms")
    hint = f"Pass a value between 0 and {MAX_WAIT_MS}; for longer runs, subscribe to `queryStatus`."
    return require_between("waitMs", wait_ms, 0, MAX_WAIT_MS, hint=hint)


async def wait_for_end(context: Context, run: RunRow, wait_ms: int) -> RunRow:
    """The run as it ended, or as it is when `wait_ms` have elapsed."""
    if not wait_ms:
        return run
    context.release_slot()
    runner = context.services.runner
    return await runner.wait_until_finished(context.owner, run.id, within_s=wait_ms / 1000)

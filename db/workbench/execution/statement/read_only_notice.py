"""The notices of a read-only run about changes that the transaction does not prevent."""

import asyncio
from weakref import WeakKeyDictionary

import psycopg

from db.runs import ServerNotice
from db.workbench.catalogue.read_only_risks import MAX_RISKS, READ_ONLY_RISKS, parse_risks
from db.workbench.connections.libpq import Connection, fetch_value
from db.workbench.execution.reading import protocol

KNOWN_FOR_S = 60.0
"""A role that gets more rights is noticed after at most this time."""
MAX_REASONS = 5
_RESET_REFUSED_FROM = 160_000
"""The version from which PostgreSQL refuses to reset `transaction_read_only`."""

_known: WeakKeyDictionary[Connection, tuple[float, ServerNotice | None]] = WeakKeyDictionary()


async def read_only_notice(connection: Connection) -> ServerNotice | None:
    """Queries the rights of the role, outside a transaction. None if it has no such right."""
    now = asyncio.get_running_loop().time()
    known = _known.get(connection)
    if known is None or known[0] <= now:
        known = now + KNOWN_FOR_S, await _find_notice(connection)
        _known[connection] = known
    return known[1]


async def notice_of_lifted_mode(connection: Connection) -> ServerNotice | None:
    """The notice of a statement that made its read-only transaction writable, before it ends."""
    if connection.pgconn.server_version >= _RESET_REFUSED_FROM or not _is_open(connection):
        return None
    try:
        mode = await fetch_value(connection, "SHOW transaction_read_only")
    except psycopg.Error:
        return None
    if mode != "off":
        return None
    return ServerNotice(
        severity="WARNING",
        message="The statement reset `transaction_read_only`, so its transaction became writable. "
        "Its changes were rolled back, except those of sequences.",
        hint="Check the sequences that it may have changed, and revoke the rights on them.",
    )


def _is_open(connection: Connection) -> bool:
    return not protocol.is_idle(connection) and not protocol.has_failed(connection)


async def _find_notice(connection: Connection) -> ServerNotice | None:
    rows = await protocol.query_catalogue(
        connection, READ_ONLY_RISKS, tuple[str, str], max_rows=MAX_RISKS
    )
    reasons = [risk.reason[: protocol.MAX_MESSAGE_CHARS] for risk in parse_risks(rows)]
    if not reasons:
        return None
    shown = "; ".join(reasons[:MAX_REASONS])
    more = f"; and {len(reasons) - MAX_REASONS} more" if len(reasons) > MAX_REASONS else ""
    return ServerNotice(
        severity="WARNING",
        message="A read-only transaction does not keep this role from lasting changes: "
        f"{shown}{more}.",
        hint="Use a role without these rights. `readOnlyRisks` of the connection lists them.",
    )

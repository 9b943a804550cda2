"""Holds connections to UTF8, in which statements are sent and results are read.

A statement can set `client_encoding`. Since PostgreSQL 14 the server reports the change only after
the rows, so their encoding is not known when they arrive.
"""

from db.runs import Failure, ServerNotice
from db.workbench.connections.libpq import Connection, command
from db.workbench.execution.reading import protocol

_UTF8 = frozenset(("UTF8", "UTF-8", "UNICODE"))


def changed_encoding(connection: Connection) -> str | None:
    """The encoding to which the statement has set the connection, if it is not UTF8."""
    encoding = _client_encoding(connection)
    return None if not encoding or encoding.upper() in _UTF8 else encoding


def sends_utf8(connection: Connection, named: str | None) -> bool:
    """Whether the data of a COPY is in UTF-8. `named` is the encoding that the statement names."""
    encoding = named or _client_encoding(connection)
    return encoding.upper() in _UTF8 and not stores_any_bytes(connection)


def stores_any_bytes(connection: Connection) -> bool:
    """Whether the text of the database can be in any encoding, and is sent as it is."""
    return connection.pgconn.parameter_status(b"server_encoding") == b"SQL_ASCII"


async def restore_encoding(connection: Connection) -> None:
    """Does nothing in an aborted transaction, which has undone the change."""
    if not connection.closed and not protocol.has_failed(connection):
        await command(connection, "SET client_encoding TO 'UTF8'")


def notice_of_restored(encoding: str) -> ServerNotice:
    return ServerNotice(
        severity="WARNING",
        message=f"`client_encoding` was set to {encoding}, and back to UTF8, which Howdah uses.",
        hint="Omit the change: every text is sent as UTF-8, whatever the encoding of the database.",
    )


def rows_not_readable(encoding: str | None) -> Failure:
    """`encoding` is None if the statement has set it back itself."""
    changed = f" to {encoding}" if encoding else ""
    return Failure(
        message=f"The statement set `client_encoding`{changed}, so the text of its rows cannot be "
        "read. The statement itself has ended.",
        hint="Omit the change: Howdah always uses UTF8. To get the bytes of another encoding, "
        "select convert_to(text, 'LATIN1').",
    )


def _client_encoding(connection: Connection) -> str:
    """Empty if the server does not report it."""
    status = connection.pgconn.parameter_status(b"client_encoding") or b""
    return status.decode("ascii", "replace")

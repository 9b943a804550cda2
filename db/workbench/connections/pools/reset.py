"""Makes a connection ready for its next borrower."""

import psycopg
from psycopg.pq import TransactionStatus

from db.workbench.connections.libpq import SET_TIMEOUT, Connection, abort_after, command, pipeline
from db.workbench.connections.pools.dblink import close_dblink_connections

RESET_S = 2.0


async def reset(connection: Connection) -> None:
    """Ends the transaction, settings, roles, temporary tables, locks and LISTEN, or all of it.

    Keeps the timeout of the last run, which most next runs have too: it would cost each of them
    another round trip.
    """
    connection.slot.release()
    if connection.has_large_buffer:
        connection.finish()
        return
    try:
        with abort_after(connection, RESET_S):
            match connection.pgconn.transaction_status:
                case TransactionStatus.UNKNOWN:
                    return
                case TransactionStatus.ACTIVE:
                    connection.finish()
                    return
                case TransactionStatus.INTRANS | TransactionStatus.INERROR:
                    await command(connection, "ROLLBACK")
            if not connection.autocommit:
                await connection.set_autocommit(True)
            if connection.kept_timeout_ms is None:
                await command(connection, "DISCARD ALL")
            else:
                set_timeout = SET_TIMEOUT.format(connection.kept_timeout_ms)
                await pipeline(connection, "DISCARD ALL", set_timeout)
            await close_dblink_connections(connection)
    except BaseException as error:
        connection.finish()
        if not isinstance(error, psycopg.Error):
            raise

"""Closes the connections that statements have opened with dblink.

DISCARD ALL keeps them, so they would stay open for the next statement.
"""

import asyncio
from weakref import WeakKeyDictionary

from db.workbench.connections.libpq import Connection, command, fetch_value
from db.workbench.sql.pinned import pinned
from db.workbench.sql.quoting import quote_literal, quote_name

KNOWN_FOR_S = 60.0
"""A new extension and a granted right are noticed after at most this time."""

# A function with SECURITY DEFINER can open a connection without this right; that one stays open.
_SCHEMA = pinned("""
SELECT n.nspname
FROM pg_catalog.pg_extension AS e
JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
WHERE e.extname = 'dblink' AND EXISTS (
  SELECT FROM pg_catalog.pg_depend AS d JOIN pg_catalog.pg_proc AS p ON p.oid = d.objid
  WHERE d.refobjid = e.oid AND d.classid = 'pg_catalog.pg_proc'::regclass AND d.deptype = 'e'
    AND p.proname = ANY ('{dblink_connect,dblink_connect_u}')
    AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE'))
""")
_CLOSE = """
DECLARE opened pg_catalog.text;
BEGIN
  FOR opened IN SELECT pg_catalog.unnest({schema}.dblink_get_connections()) LOOP
    PERFORM {schema}.dblink_disconnect(opened);
  END LOOP;
  PERFORM {schema}.dblink_disconnect();
EXCEPTION WHEN connection_does_not_exist THEN NULL;
END"""

_known: WeakKeyDictionary[Connection, tuple[float, str | None]] = WeakKeyDictionary()


async def close_dblink_connections(connection: Connection) -> None:
    """Does nothing if the role has no right to open connections with dblink.

    Raises:
        psycopg.Error: They cannot be closed, so this connection must not be used again.
    """
    now = asyncio.get_running_loop().time()
    known = _known.get(connection)
    if known is None or known[0] <= now:
        found = await fetch_value(connection, _SCHEMA)
        known = now + KNOWN_FOR_S, None if found is None else str(found)
        _known[connection] = known
    schema = known[1]
    if schema is not None:
        body = _CLOSE.format(schema=quote_name(schema))
        await command(connection, f"DO LANGUAGE plpgsql {quote_literal(body)}")

"""Refuses connections that lead to Howdah's own database by a way that no address tells.

A pooler, a proxy, another name or an SSH tunnel can lead there.
"""

import psycopg

from db.postgres.own_cluster import STARTED, SYSTEM, ClusterIdentity, OwnCluster
from db.workbench.connections.libpq import Connection, fetch_value
from db.workbench.connections.targets.network_policy import target_forbidden

# A role can be set up to end this query at once: timeouts, cancels and full servers tell nothing.
_INCONCLUSIVE = ("40", "53", "57")


async def require_foreign(connection: Connection, own: OwnCluster | None, *, host: str) -> None:
    """Raises Forbidden if the server is that of Howdah's own database."""
    if own is None:
        return
    ours = await own.identity()
    query, name = (STARTED, "started") if ours.system is None else (SYSTEM, "system")
    value = await _value(connection, query)
    if ours.is_same(ClusterIdentity(None, None)._replace(**{name: value})):
        raise target_forbidden(host)


async def _value(connection: Connection, query: str) -> str | None:
    """None if the server does not tell: it does not allow it, or is not PostgreSQL."""
    try:
        value = await fetch_value(connection, query)
    except psycopg.Error as error:
        if connection.closed or (error.sqlstate or "").startswith(_INCONCLUSIVE):
            raise
        return None
    return None if value is None else str(value)

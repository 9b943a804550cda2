"""Imports the drivers of users' databases without stopping the event loop."""

import asyncio
import importlib

_MODULES = (
    "db.workbench.connections.pools.connection_pool",
    "db.workbench.execution.statement.statement_run",
    "db.workbench.sessions.holder",
)
_loaded = False


async def load_drivers() -> None:
    """Call before the first use of a connection: psycopg and asyncssh take half a second."""
    global _loaded  # noqa: PLW0603 - modules are loaded once in a process, too
    if not _loaded:
        for name in _MODULES:
            await asyncio.to_thread(importlib.import_module, name)
        _loaded = True

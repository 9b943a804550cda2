"""A process that is frozen within a transaction keeps its locks for a short time only."""

import contextlib

import asyncpg
import pytest
from sqlalchemy import text

from db.postgres.engine import open_database
from db.postgres.route import connect
from db.postgres.route.connect import Dropped
from db.postgres.sessions import Session
from db.postgres.statements import compile_statement
from tests.fixtures.patience import patience
from tests.fixtures.pgbouncer import PGBOUNCER, pgbouncer

_LOCK = compile_statement(text("SELECT pg_advisory_xact_lock(20)"))
_ALIVE = compile_statement(
    text("""SELECT current_setting('tcp_keepalives_idle'), current_setting('tcp_user_timeout'),
        current_setting('idle_in_transaction_session_timeout')""")
)


@pytest.mark.parametrize("through", ["no pooler", "a pooler"])
async def test_server_ends_a_paused_transaction(
    committed_url: str, monkeypatch: pytest.MonkeyPatch, through: str
) -> None:
    monkeypatch.setitem(connect.LONGEST_PAUSE, "idle_in_transaction_session_timeout", "100ms")
    async with contextlib.AsyncExitStack() as stack:
        url = committed_url
        if through == "a pooler":
            if PGBOUNCER is None:
                pytest.skip("there is no pgbouncer on this machine")
            url = await stack.enter_async_context(pgbouncer(url))
        database = await open_database(url, direct_url=committed_url, lock_ms=60_000)
        stack.push_async_callback(database.close)
        other = await asyncpg.connect(committed_url)
        stack.push_async_callback(other.close)

        async def pause(session: Session) -> None:
            await session.value(_LOCK)
            async with patience():
                await other.execute("SELECT pg_advisory_lock(20)")  # once the transaction is over

        with pytest.raises(Dropped):
            await database.transaction(pause)


async def test_server_notices_a_vanished_process(committed_url: str) -> None:
    database = await open_database(committed_url)
    try:
        async with database.read() as session:
            found = await session.row(_ALIVE)
    finally:
        await database.close()
    assert tuple(found or ()) == ("15", "30000", "10s")

"""What one replica disconnects or deletes is closed on all, and its statements end."""

import asyncio
from uuid import UUID

import psycopg
import pytest

from db.errors import BadInput, NotFound
from db.kit.base import OwnerId
from db.postgres.engine import Database
from db.security.vault import Vault
from db.users.unscoped.accounts import Users
from db.workbench import SavedConnections, Workbench
from tests.fixtures.patience import patience
from tests.fixtures.targets import CANARY, Target
from tests.fixtures.workbench import (
    ConnectionSaver,
    OpenWorkbench,
    active_ids,
    answers,
    one,
    until,
)


@pytest.mark.parametrize("bus", [{}, {"deaf": True}], ids=["event", "no event"])
@pytest.mark.parametrize("close", ["disconnect", "delete"])
async def test_close_ends_statements_on_every_open_workbench(
    open_workbench: OpenWorkbench,
    committed_saver: ConnectionSaver,
    committed_owner: OwnerId,
    vault: Vault,
    committed: Database,
    target: Target,
    close: str,
    bus: dict[str, bool],
) -> None:
    saved, other = await committed_saver.save(), await committed_saver.save()
    async with open_workbench() as here, open_workbench(**bus) as there:
        async with there.lend(committed_owner, saved) as outdated:
            # A pool of an earlier generation, which waits for its statement, is closed as well.
            there.renew(committed_owner, await committed_saver.change(saved, name="Renamed"))
            async with (
                there.lend(committed_owner, saved) as current,
                there.lend(committed_owner, other) as bystander,
            ):
                running = [
                    asyncio.create_task(one(connection, "SELECT true FROM pg_sleep(60)"))
                    for connection in (outdated, current)
                ]
                await until(lambda: sleeping(target, 2))
                if close == "disconnect":
                    await here.disconnect(committed_owner, saved)
                else:
                    await SavedConnections(committed, vault, here).remove(committed_owner, saved)
                async with patience():
                    outcomes = await asyncio.gather(*running, return_exceptions=True)
                assert [isinstance(end, psycopg.Error) for end in outcomes] == [True, True]
                assert await one(bystander, "SELECT true")
        await until(lambda: is_closed(there, committed_owner, saved))
        if close == "disconnect":
            assert await answers(there, committed_owner, saved)  # its password is stored
        else:
            with pytest.raises(NotFound):
                await answers(there, committed_owner, saved)


async def sleeping(target: Target, count: int) -> bool:
    active = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)' AND {}"
    return bool(await target.administer(active.format("state = 'active'")) == count)


async def is_closed(workbench: Workbench, owner: OwnerId, connection_id: UUID) -> bool:
    return connection_id not in await active_ids(workbench, owner)


async def test_removed_user_loses_running_statements(
    open_workbench: OpenWorkbench,
    committed_saver: ConnectionSaver,
    committed_owner: OwnerId,
    committed: Database,
    target: Target,
) -> None:
    saved = await committed_saver.save(password=None)
    async with open_workbench() as workbench:
        await workbench.connect(committed_owner, saved, {"password": CANARY})
        async with workbench.lend(committed_owner, saved) as connection:
            task = asyncio.create_task(one(connection, "SELECT true FROM pg_sleep(60)"))
            await until(lambda: sleeping(target, 1))
            await committed.transaction(lambda session: Users(session).remove(committed_owner))
            async with patience():
                with pytest.raises(psycopg.Error):
                    await task


async def test_lost_event_of_disconnect_does_not_lend_outdated_connection(
    open_workbench: OpenWorkbench, committed_saver: ConnectionSaver, committed_owner: OwnerId
) -> None:
    saved = await committed_saver.save(password=None)
    async with open_workbench() as here, open_workbench(deaf=True) as there:
        await here.connect(committed_owner, saved, {"password": CANARY})
        assert await answers(there, committed_owner, saved)
        await here.disconnect(committed_owner, saved)
        with pytest.raises(BadInput, match="requires a password"):
            await answers(there, committed_owner, saved)  # at once: the row says so

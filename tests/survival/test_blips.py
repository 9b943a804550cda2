"""An outage of the database is one line of the log: no traceback, and no line for each retry."""

import asyncio
import logging
from weakref import WeakSet

import asyncpg
import pytest

from db.concurrency.retry_log import RetryLog
from tests.fixtures.cluster import Cluster
from tests.fixtures.database import named
from tests.fixtures.patience import patience
from tests.fixtures.replicas import OpenReplica

RETRIES = 5


async def test_database_outage_logs_one_warning(
    open_replica: OpenReplica,
    cluster: Cluster,
    committed_url: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The event bus says that it is down too: it may be another server."""
    monkeypatch.setattr(RetryLog, "_failing", WeakSet())  # other tests may have left outages
    name = committed_url.rpartition("/")[2]
    administrator = await asyncpg.connect(named(cluster.url, "postgres"))
    async with open_replica() as replica:
        caplog.clear()
        with caplog.at_level(logging.DEBUG):
            await administrator.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            await administrator.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
            )
            async with patience():
                while caplog.text.count("will retry") < RETRIES:  # noqa: ASYNC110 - no event
                    await asyncio.sleep(0.05)
            await administrator.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
            async with patience():
                while "can send a heartbeat to the database again" not in caplog.text:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        await replica.services.database.ping()
    await administrator.close()
    reported = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len([one for one in reported if "will retry" in one.getMessage()]) == 1
    assert len([one for one in reported if "event bus is down" in one.getMessage()]) == 1
    assert not [one for one in caplog.records if one.exc_info or one.levelno >= logging.ERROR]

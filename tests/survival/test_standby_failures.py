"""Standbys that freeze, restart, cancel reads or are promoted: clients see no error."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from db.postgres.monitoring.figures import StatementCount, current_count
from db.postgres.route.urls import parse_url
from db.postgres.standbys import reads_of
from db.postgres.standbys.figures import Fallback, Reason
from db.postgres.standbys.standby import Standby
from db.postgres.statements import compile_change, compile_statement
from tests.fixtures.patience import patience
from tests.fixtures.replicas import OpenReplica, Replica
from tests.fixtures.standby_readers import Reader, standbys_of, wait_for_lives
from tests.fixtures.standbys import StandbyGroup

HANG_ON_STANDBY = compile_statement(
    text("""SELECT CASE WHEN pg_is_in_recovery() THEN pg_sleep(600)::text ELSE 'primary' END
        FROM installation""")
)
SLEEPING = """SELECT count(*) FROM pg_stat_activity
    WHERE query LIKE '%pg_sleep(600)%' AND wait_event = 'PgSleep'"""


@pytest.fixture(scope="module")
async def standby_group() -> AsyncIterator[StandbyGroup]:
    """With one standby, so that each query of a client that may read there does."""
    async with StandbyGroup.started("standby") as started:
        await started.standbys[0].administer("ALTER SYSTEM SET hot_standby_feedback = off")
        await started.standbys[0].administer("ALTER SYSTEM SET max_standby_streaming_delay = 0")
        await started.standbys[0].administer("SELECT pg_reload_conf()")
        yield started


async def read_at(reader: Reader, group: StandbyGroup) -> asyncio.Task[str]:
    """Begins a read on the standby that does not end there; returns when it runs."""
    await reader.create("first")
    await reader.wait_for_standby()
    assert reader.seen is not None
    reads = reads_of(standbys_of(reader.replica), reader.seen.encode(), is_anonymous=False)
    assert reads is not None

    async def read() -> str:
        count = StatementCount()
        current_count.set(count)
        reads.begin_query(count)
        answer: str = await reads.open(None).value(HANG_ON_STANDBY)
        assert reads.life is None  # the rest of the operation is read on the primary
        return answer

    reading = asyncio.create_task(read())
    async with patience():
        while not await group.standbys[0].administer(SLEEPING):  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.02)
    return reading


@pytest.mark.usefixtures("real_limits")
async def test_read_on_a_frozen_standby_is_repeated_on_the_primary(
    reader: Reader, standby_group: StandbyGroup
) -> None:
    fallbacks = standbys_of(reader.replica).figures.fallbacks
    reading = await read_at(reader, standby_group)
    standby_group.standbys[0].freeze()
    try:
        assert await reading == "primary"
        assert fallbacks[Fallback.LOST] == 1  # not by the timeout of the statement
        assert await reader.titles() == {"first"}
    finally:
        standby_group.standbys[0].thaw()
    await reader.wait_for_standby()


@pytest.mark.usefixtures("real_limits")
async def test_read_that_takes_long_on_a_standby_is_repeated_on_the_primary(
    reader: Reader, standby_group: StandbyGroup, caplog: pytest.LogCaptureFixture
) -> None:
    standbys = standbys_of(reader.replica)
    reading = await read_at(reader, standby_group)
    assert await reading == "primary"
    assert standbys.figures.fallbacks[Fallback.SLOW] == 1
    assert "slow statement" in caplog.text
    assert reader.replica.services.database.figures.slow
    await reader.wait_for_standby()


async def test_read_that_replay_cancels_is_repeated_on_the_primary(
    reader: Reader, standby_group: StandbyGroup
) -> None:
    fallbacks = standbys_of(reader.replica).figures.fallbacks
    reading = await read_at(reader, standby_group)
    await reader.replica.services.database.write(
        lambda session: session.value(
            compile_change(text("ALTER TABLE installation ALTER COLUMN copied_from DROP DEFAULT"))
        )
    )
    assert await reading == "primary"
    assert fallbacks[Fallback.CONFLICT] == 1
    await reader.wait_for_standby()


async def test_standby_that_was_restarted_is_read_again(
    reader: Reader, standby_group: StandbyGroup
) -> None:
    (watched,), (standby,) = standbys_of(reader.replica).standbys, standby_group.standbys
    reading = await read_at(reader, standby_group)
    before = watched.life
    await standby.kill()
    assert await reading == "primary"
    await wait_for_lives(reader.replica, 0)
    assert watched.reason is Reason.UNREACHABLE
    assert await reader.titles() == {"first"}
    await standby.start()
    await reader.wait_for_standby()
    assert watched.life is not before


async def test_answer_has_a_position_when_its_standby_is_lost_meanwhile(
    reader: Reader, standby_group: StandbyGroup
) -> None:
    standbys = standbys_of(reader.replica)
    await reader.create("first")
    await reader.wait_for_standby()
    life = standbys.standbys[0].life
    assert life is not None
    await life.end()
    assert await standbys.position_of(life) >= reader.position
    standbys.standbys[0]._lose()
    await reader.wait_for_standby()


async def test_server_starts_without_its_standby(
    reader: Reader, standby_group: StandbyGroup, open_reading: OpenReplica
) -> None:
    (standby,) = standby_group.standbys
    await reader.create("first")
    await standby.kill()
    try:
        key = reader.replica.services.settings.secret_key
        async with open_reading(secret_key=key) as other:
            alone = Reader(other, reader.token, reader.seen)
            assert await alone.titles() == {"first"}
            await standby.start()
            await alone.wait_for_standby()
    finally:
        if standby._process is None:
            await standby.start()


@pytest.mark.parametrize("reason", [Reason.NOT_STANDBY, Reason.OTHER_CLUSTER])
async def test_server_that_is_no_standby_of_the_primary_is_passed_over(
    standby_replica: Replica, standby_group: StandbyGroup, committed_url: str, reason: Reason
) -> None:
    url = committed_url if reason is Reason.OTHER_CLUSTER else standby_group.primary.url
    system = standbys_of(standby_replica).standbys[0]._system
    figures = standby_replica.services.database.figures
    standby = Standby(2, parse_url(url), system, pool_size=2, figures=figures)
    try:
        async with patience():
            while standby.reason is not reason:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0.02)
        assert standby.life is None
    finally:
        await standby.close()


async def test_promoted_standby_is_no_longer_read_and_loses_nothing(
    reader: Reader, standby_group: StandbyGroup
) -> None:
    """The last test: the group has no standby after it."""
    (watched,), (standby,) = standbys_of(reader.replica).standbys, standby_group.standbys
    reading = await read_at(reader, standby_group)
    await standby.administer("SELECT pg_promote(true, 60)")
    async with patience():
        while watched.reason is not Reason.NOT_STANDBY:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.02)
    assert await reading == "primary"
    await reader.create("second")
    assert await reader.titles() == {"first", "second"}
    assert standbys_of(reader.replica).choose(0) is None

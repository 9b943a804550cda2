"""No client sees less than it has seen, wherever its queries are read."""

import pytest

from db.postgres.standbys import standbys as standbys_module
from db.postgres.standbys.figures import Reason
from tests.fixtures.patience import PATIENCE_S
from tests.fixtures.replicas import OpenReplica
from tests.fixtures.standby_readers import Reader, standbys_of, wait_for_lives
from tests.fixtures.standbys import StandbyGroup


async def test_query_reads_on_a_standby_that_has_what_its_client_has_seen(reader: Reader) -> None:
    await reader.create("first")
    written = reader.position
    await reader.wait_for_standby()
    assert await reader.titles() == {"first"}
    assert reader.position >= written


async def test_client_sees_its_own_change_while_replay_is_paused(
    reader: Reader, standby_group: StandbyGroup
) -> None:
    await reader.create("first")
    await reader.wait_for_standby()
    async with standby_group.paused():
        await reader.create("second")
        passed_over = standbys_of(reader.replica).figures.passed_over
        before = passed_over[Reason.BEHIND]
        assert await reader.titles() == {"first", "second"}
        assert passed_over[Reason.BEHIND] == before + 2
    await reader.wait_for_standby()
    assert await reader.titles() == {"first", "second"}


async def test_client_sees_no_less_after_it_has_read_on_another_standby(
    reader: Reader, standby_group: StandbyGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standbys_module, "MAX_LAG_S", PATIENCE_S)
    fast, slow = standby_group.standbys
    await reader.create("first")
    await standby_group.catch_up()
    await reader.wait_for_standby()
    writer = reader.at(reader.replica)
    async with standby_group.paused(slow):
        await writer.create("second")
        await standby_group.catch_up(fast)
        seen: list[bool] = []
        while not seen or not seen[-1]:  # both are new enough for this client until it has seen it
            seen.append("second" in await reader.titles())
        for _ in range(10):
            assert "second" in await reader.titles()


async def test_client_without_the_header_reads_on_the_primary(reader: Reader) -> None:
    await reader.create("first")
    await reader.wait_for_standby()
    reader.seen = None
    assert not await reader.is_served_by_standby()
    assert reader.seen is None


@pytest.mark.parametrize("value", ["", "new", "00000000.1", "{mark}.", "{mark}.x", "{mark}.{far}"])
async def test_unusable_position_leads_to_the_primary_and_is_replaced(
    reader: Reader, value: str
) -> None:
    await reader.create("first")
    assert reader.seen is not None
    mark, _, good = reader.seen.partition(".")
    reader.seen = value.format(mark=mark, far="f" * 16)
    assert not await reader.is_served_by_standby()
    assert reader.seen.startswith(mark)
    assert int(good, 16) <= reader.position < 2**60


async def test_standby_that_lacks_what_the_primary_had_long_ago_is_passed_over(
    reader: Reader, standby_group: StandbyGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for a client that has seen nothing newer."""
    await reader.create("first")
    await reader.wait_for_standby()
    old = reader.seen
    async with standby_group.paused():
        await reader.at(reader.replica).create("second")
        monkeypatch.setattr(standbys_module, "MAX_LAG_S", 1.0)
        titles: set[str] = set()
        while "second" not in titles:
            reader.seen = old
            titles = await reader.titles()


async def test_standby_without_the_newest_migration_is_passed_over(
    reader: Reader, standby_group: StandbyGroup, open_reading: OpenReplica
) -> None:
    """Nothing is read there that a server finds at its start and that the standby lacks."""
    await reader.create("first")
    await reader.wait_for_standby()
    old = reader.seen
    async with standby_group.paused():
        await reader.create("before the start")
        key = reader.replica.services.settings.secret_key
        async with open_reading(secret_key=key) as newer:
            await wait_for_lives(newer, 2)
            later = Reader(newer, reader.token, old)
            passed_over = standbys_of(newer).figures.passed_over
            while passed_over[Reason.BEHIND] < 2:
                later.seen = old
                assert not await later.is_served_by_standby()

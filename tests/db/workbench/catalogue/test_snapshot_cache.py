"""The cached snapshots of users' catalogues: content, isolation, staleness and limits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from db.concurrency.waiting import cancel_all
from db.connections import Connections
from db.errors import Forbidden, NotFound, TimedOut, TooLarge, Unavailable
from db.events import EventBus, open_events
from db.kit.base import OwnerId, new_id
from db.postgres.engine import Database
from db.security.vault import Vault
from db.workbench import SavedConnections, Workbench
from db.workbench.catalogue import snapshot_cache, snapshot_sql
from db.workbench.catalogue.snapshot import CatalogueSnapshot
from db.workbench.catalogue.snapshot_cache import CacheLimits, CatalogueCache
from tests.fixtures.patience import PATIENCE_S
from tests.fixtures.targets import Target, silent, speaking
from tests.fixtures.workbench import ConnectionSaver, OpenWorkbench, until

SETUP = """
CREATE SCHEMA depot; GRANT USAGE ON SCHEMA depot TO ada; COMMENT ON SCHEMA depot IS 'Goods';
CREATE TYPE depot.size AS ENUM ('small', 'large');
CREATE TABLE depot.crates (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, size depot.size,
  note varchar(20), gone int);
ALTER TABLE depot.crates DROP COLUMN gone;
COMMENT ON TABLE depot.crates IS 'Wooden'; COMMENT ON COLUMN depot.crates.note IS 'Chalk';
CREATE VIEW depot.notes AS SELECT note FROM depot.crates;
CREATE FUNCTION depot.twice(n int, times int = 2) RETURNS bigint LANGUAGE sql
  AS 'SELECT n::bigint * times';
"""


@pytest.fixture
async def depot(target: Target) -> AsyncIterator[None]:
    await target.script(SETUP)
    yield
    await target.script("DROP SCHEMA depot CASCADE")


@pytest.fixture
async def cache(
    database: Database, workbench: Workbench, events: EventBus
) -> AsyncIterator[CatalogueCache]:
    async with CatalogueCache.opened(database, workbench, events) as opened:
        yield opened


def names(snapshot: CatalogueSnapshot) -> set[str]:
    return {each.name for each in snapshot.relations if each.schema == "depot"}


async def test_snapshot_has_all_objects_of_the_database(
    cache: CatalogueCache, saver: ConnectionSaver, owner: OwnerId, target: Target, depot: None
) -> None:
    found = await cache.snapshot(owner, await saver.save())
    assert found.server_version == await target.version()
    assert found.search_path == ("pg_catalog", "public")
    assert [each.comment for each in found.schemas if each.name == "depot"] == ["Goods"]
    crates, notes = (each for each in found.relations if each.schema == "depot")
    assert (crates.name, crates.kind, crates.comment) == ("crates", "r", "Wooden")
    assert [(each.name, each.type, each.comment) for each in crates.columns] == [
        ("id", "bigint", None),
        ("size", "depot.size", None),
        ("note", "character varying(20)", "Chalk"),
    ]
    assert (notes.name, notes.kind) == ("notes", "v")
    assert [each.name for each in found.sequences if each.schema == "depot"] == ["crates_id_seq"]
    (twice,) = (each for each in found.functions if each.schema == "depot")
    assert (twice.name, twice.kind, twice.arguments, twice.result) == (
        "twice",
        "f",
        "n integer, times integer DEFAULT 2",
        "bigint",
    )
    types = [(each.name, each.kind, each.labels) for each in found.types if each.schema == "depot"]
    assert types == [("size", "e", ("small", "large"))]
    assert ("select", "R") in found.keywords
    assert any(each.name == "pg_class" for each in found.relations)
    assert found.is_complete


async def test_snapshot_is_read_once_for_concurrent_callers_and_kept(
    cache: CatalogueCache, saver: ConnectionSaver, owner: OwnerId
) -> None:
    saved = await saver.save()
    impatient = asyncio.create_task(cache.snapshot(owner, saved))
    found = asyncio.gather(*(cache.snapshot(owner, saved) for _ in range(5)))
    await asyncio.sleep(0)
    impatient.cancel()  # does not end the read of the others
    first, *others = await found
    assert all(other is first for other in others)
    assert await cache.snapshot(owner, saved) is first
    assert cache.size > 100_000


async def test_snapshot_is_read_again_when_it_is_old(
    database: Database,
    workbench: Workbench,
    events: EventBus,
    saver: ConnectionSaver,
    owner: OwnerId,
) -> None:
    saved = await saver.save()
    cache = CatalogueCache(database, workbench, events, CacheLimits(max_age_s=0))
    assert await cache.snapshot(owner, saved) is not await cache.snapshot(owner, saved)


async def test_snapshot_read_before_a_change_is_not_kept(
    cache: CatalogueCache, saver: ConnectionSaver, owner: OwnerId
) -> None:
    saved = await saver.save()
    loading = asyncio.create_task(cache.snapshot(owner, saved))
    await until(lambda: _is_loading(cache))
    await cache.mark_changed(saved)
    outdated = await loading
    assert await cache.snapshot(owner, saved) is not outdated


async def _is_loading(cache: CatalogueCache, count: int = 1) -> bool:
    return len(cache._loads.keys) == count


async def test_snapshot_belongs_to_one_owner_and_version_of_the_connection(
    cache: CatalogueCache, saver: ConnectionSaver, owner: OwnerId, depot: None
) -> None:
    saved = await saver.save()
    first = await cache.snapshot(owner, saved)
    with pytest.raises(Forbidden):
        await cache.snapshot(OwnerId(new_id()), saved)
    assert await cache.snapshot(owner, saved) is first
    await saver.change(saved, name="Renamed")
    assert await cache.snapshot(owner, saved) is not first


async def test_deletion_drops_the_snapshot(
    cache: CatalogueCache, saver: ConnectionSaver, owner: OwnerId, vault: Vault
) -> None:
    saved = await saver.save()
    await cache.snapshot(owner, saved)
    await saver.database.transaction(lambda session: Connections(session, owner).remove(saved))
    with pytest.raises(NotFound):
        await cache.snapshot(owner, saved)
    assert cache.size == 0


async def test_cache_keeps_the_most_recently_used_within_its_bytes(
    database: Database,
    workbench: Workbench,
    events: EventBus,
    saver: ConnectionSaver,
    owner: OwnerId,
) -> None:
    one, two, three = [await saver.save(name=name) for name in ("One", "Two", "Three")]
    unlimited = CatalogueCache(database, workbench, events)
    await unlimited.snapshot(owner, one)
    limits = CacheLimits(max_bytes=unlimited.size * 5 // 2)
    cache = CatalogueCache(database, workbench, events, limits)
    first = await cache.snapshot(owner, one)
    second = await cache.snapshot(owner, two)
    await cache.snapshot(owner, one)
    await cache.snapshot(owner, three)
    assert await cache.snapshot(owner, one) is first
    assert await cache.snapshot(owner, two) is not second


async def test_snapshot_does_not_wait_for_silent_databases_of_other_users(
    cache: CatalogueCache,
    saver: ConnectionSaver,
    owner: OwnerId,
    other_owner: OwnerId,
    vault: Vault,
    target: Target,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("db.workbench.connections.connector.CONNECT_S", 2 * PATIENCE_S)
    saved = await saver.save()
    other_saver = ConnectionSaver(saver.database, vault, other_owner, target)
    async with speaking(silent) as port:
        silents = [await other_saver.save(name=name, port=port) for name in ("One", "Two")]
        waiting = [asyncio.create_task(cache.snapshot(other_owner, each)) for each in silents]
        await until(lambda: _is_loading(cache, len(silents)))
        await cache.snapshot(owner, saved)
        assert not any(each.done() for each in waiting)
        await cancel_all(waiting)
        await cache._loads.close()


async def test_snapshot_of_a_large_database_is_cut(
    cache: CatalogueCache,
    saver: ConnectionSaver,
    owner: OwnerId,
    depot: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    smaller = snapshot_sql.RELATIONS.replace(f"<= {snapshot_sql.MAX_SNAPSHOT_COLUMNS}", "<= 4")
    monkeypatch.setattr(snapshot_sql, "RELATIONS", smaller)
    monkeypatch.setattr(snapshot_sql, "MAX_SNAPSHOT_COLUMNS", 4)
    found = await cache.snapshot(owner, await saver.save())
    assert not found.is_complete
    assert sum(len(each.columns) for each in found.relations) <= 4
    assert {"crates", "notes"} <= {each.name for each in found.relations}


async def test_snapshot_reports_a_catalogue_that_cannot_be_read(
    cache: CatalogueCache,
    saver: ConnectionSaver,
    owner: OwnerId,
    target: Target,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    saved = await saver.save()
    monkeypatch.setattr("db.workbench.catalogue.snapshot_cache.MAX_SNAPSHOT_BYTES", 10)
    with pytest.raises(TooLarge):
        await cache.snapshot(owner, saved)
    monkeypatch.undo()
    async with refusing(target, "REVOKE SELECT ON pg_catalog.pg_enum FROM PUBLIC"):
        with pytest.raises(Unavailable, match="permission denied for table pg_enum"):
            await cache.snapshot(owner, saved)
    monkeypatch.setattr(snapshot_cache, "TIMEOUT_S", 0.2)
    async with target._as_superuser() as connection, connection.transaction():
        await connection.execute("LOCK TABLE pg_catalog.pg_enum IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(TimedOut):
            await cache.snapshot(owner, saved)
    monkeypatch.undo()
    assert (await cache.snapshot(owner, saved)).is_complete


@asynccontextmanager
async def refusing(target: Target, revoke: str) -> AsyncIterator[None]:
    await target.script(revoke)
    try:
        yield
    finally:
        await target.script(revoke.replace("REVOKE", "GRANT").replace("FROM", "TO"))


@pytest.mark.parametrize("change", ["mark", "disconnect", "delete"])
async def test_change_at_one_replica_drops_the_snapshot_of_another(
    open_workbench: OpenWorkbench,
    committed: Database,
    committed_url: str,
    committed_saver: ConnectionSaver,
    committed_owner: OwnerId,
    vault: Vault,
    change: str,
) -> None:
    saved = await committed_saver.save()
    bus, peer = (
        await open_events(committed_url, channel="tests"),
        await open_events(committed_url, channel="tests"),
    )
    try:
        async with (
            open_workbench() as here,
            CatalogueCache.opened(committed, here, bus) as cache,
            CatalogueCache.opened(committed, here, peer) as other,
        ):
            await cache.snapshot(committed_owner, saved)
            first = await other.snapshot(committed_owner, saved)
            if change == "mark":
                await cache.mark_changed(saved)
                own = await cache.snapshot(committed_owner, saved)
            elif change == "disconnect":
                await here.disconnect(committed_owner, saved)
            else:
                await SavedConnections(committed, vault, here).remove(committed_owner, saved)

            async def dropped() -> bool:
                return other.size == 0

            await until(dropped)
            if change == "mark":
                assert await other.snapshot(committed_owner, saved) is not first
                # Its own announcement, which has returned by now, drops nothing.
                assert await cache.snapshot(committed_owner, saved) is own
    finally:
        await bus.close()
        await peer.close()

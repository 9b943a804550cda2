"""`health` and `/readyz` name what does not work; only what stops every request is red."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from db.objects import store
from graph.server.metrics import page
from tests.fixtures.connected import connected
from tests.fixtures.network import Link
from tests.fixtures.patience import patience
from tests.fixtures.replicas import OpenReplica, Replica
from tests.graph.server.metrics.test_metrics import measured

STATUS = "{ health { status findings events { ok } objects { ok } } }"


async def statuses(replica: Replica) -> tuple[str, int, list[str]]:
    """The status for anyone, and the one and the lines of `/readyz`."""
    answer = await replica.http.post("/graphql", json={"query": STATUS})
    found = answer.json()["data"]["health"]
    assert found["findings"] is None
    ready = await replica.http.get("/readyz")
    return found["status"], ready.status_code, ready.text.splitlines()


async def becomes(replica: Replica, status: str, *faults: str) -> None:
    """Returns when the replica has this status with these faults; `/readyz` is green."""
    expected = (status, 200, ["degraded" if faults else "ready", *faults])
    async with patience():
        while await statuses(replica) != expected:
            pass


async def database_becomes(replica: Replica, up: float) -> None:
    """Returns when the metrics of the replica say so."""
    async with patience():
        while (await measured(replica.http))["howdah_database_up"] != up:
            pass


def remove_folder(folder: Path, _: pytest.MonkeyPatch) -> None:
    (folder / "objects").rename(folder / "elsewhere")


def restore_folder(folder: Path, _: pytest.MonkeyPatch) -> None:
    (folder / "elsewhere").rename(folder / "objects")


def fill_disk(_: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(store, "MIN_FREE_BYTES", 2**62)


def free_disk(_: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(store, "MIN_FREE_BYTES", 0)


@pytest.mark.parametrize(
    ("fail", "mend", "fault"),
    [
        (remove_folder, restore_folder, "The object store does not respond."),
        (fill_disk, free_disk, "The disk of the object store is full."),
    ],
)
async def test_object_store_that_fails_degrades_by_name(
    open_replica: OpenReplica,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fail: Callable[[Path, pytest.MonkeyPatch], None],
    mend: Callable[[Path, pytest.MonkeyPatch], None],
    fault: str,
) -> None:
    monkeypatch.setattr(store, "PROBE_TTL_S", 0.1)
    async with open_replica() as replica:
        await becomes(replica, "OK")
        fail(tmp_path, monkeypatch)
        await becomes(replica, "DEGRADED", fault)
        mend(tmp_path, monkeypatch)
        await becomes(replica, "OK")


@pytest.mark.usefixtures("real_limits")
async def test_event_bus_that_fails_degrades_by_name(
    open_replica: OpenReplica, committed_url: str
) -> None:
    parts = urlsplit(committed_url)
    async with Link.opened(parts.hostname or "", parts.port or 0) as link:
        direct_url = committed_url.replace(f":{parts.port}/", f":{link.port}/")
        async with open_replica(direct_database_url=direct_url) as replica:
            await becomes(replica, "OK")
            link.cut()
            await becomes(replica, "DEGRADED", "The event bus does not respond.")
            link.mend()
            await becomes(replica, "OK")


async def test_database_that_accepts_no_change_degrades_by_name(
    open_replica: OpenReplica, committed_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "PAGE_PAUSE", 0)  # each page of metrics is a new one
    async with open_replica() as replica, connected(committed_url) as blocker:
        async with blocker.transaction():
            await blocker.execute("LOCK TABLE replica_processes IN EXCLUSIVE MODE")
            await becomes(replica, "DEGRADED", "The database does not accept changes.")
            await database_becomes(replica, 0)
        await becomes(replica, "OK")
        await database_becomes(replica, 1)


async def test_other_settings_of_a_replica_degrade_both_by_name(
    open_replica: OpenReplica, tmp_path: Path
) -> None:
    async with open_replica() as replica:
        async with contextlib.AsyncExitStack() as stack:
            other = await stack.enter_async_context(open_replica(data_dir=tmp_path / "other"))
            for one in (replica, other):
                await becomes(
                    one,
                    "DEGRADED",
                    "HOWDAH_CREDENTIAL_KEY is not the same at another replica.",
                    "HOWDAH_OBJECTS_URL is not the same at another replica.",
                    "HOWDAH_SECRET_KEY is not the same at another replica.",
                )
        await becomes(replica, "OK")

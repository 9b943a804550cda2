import asyncio
import contextlib
import itertools
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from db.services import Services
from graph.server.metrics import Metrics, page
from graph.server.metrics.catalogue import Sample
from tests.fixtures.clients import Client
from tests.fixtures.patience import patience
from tests.graph.tasks.test_tasks import followed

LOCAL = {"host": "localhost"}  # another name needs the token


async def measured(http: httpx.AsyncClient) -> dict[str, float]:
    text = (await http.get("/metrics", headers=LOCAL)).text
    return {
        name: float(value) for name, value in re.findall(r"^([^#\s]+) (\S+)$", text, re.MULTILINE)
    }


async def test_metrics_count_operations_by_kind_and_outcome(
    anonymous: Client, http: httpx.AsyncClient
) -> None:
    for document in ("{ health { status } }", "{ health { status } }", "{ taskStats { total } }"):
        await anonymous.send(document)
    found = await measured(http)
    name = "howdah_operation_seconds_count"
    assert found[f'{name}{{kind="query",outcome="OK"}}'] == 2
    assert found[f'{name}{{kind="query",outcome="UNAUTHENTICATED"}}'] == 1
    assert found["howdah_plan_hits_total"] == 1
    assert found["howdah_plan_misses_total"] == 2
    assert found["howdah_plans_kept"] == 2


async def test_metrics_report_database_events_and_process(
    ada: Client, http: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "PAGE_PAUSE", 0)  # each page is a new one
    found = await measured(http)
    assert found["howdah_events_up"] == 1
    assert found["howdah_database_connections_in_use"] == 0
    assert found["howdah_database_waiting"] == 0
    assert found["process_resident_memory_bytes"] > 1_000_000
    before = found["howdah_event_readers"]
    async with ada.follow("subscription { taskChanged { kind } }"):
        await followed(services, ada)
        assert (await measured(http))["howdah_event_readers"] == before + 1


async def test_metrics_take_a_tenth_of_the_time_at_most(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, made_at = 0.0, list[float]()
    make = page.MetricsPage._make_page

    def slowly(metrics: page.MetricsPage) -> bytes:
        nonlocal now
        made_at.append(now)
        now += 2
        return make(metrics)

    monkeypatch.setattr(page, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(page.MetricsPage, "_make_page", slowly)
    while now < 100:
        assert (await http.get("/metrics", headers=LOCAL)).status_code == 200
        now += 3
    assert made_at == [0, 20, 40, 60, 80]


async def test_metrics_labels_contain_no_user_data(ada: Client, http: httpx.AsyncClient) -> None:
    await ada.ask("query NamedByAda { viewer { id } }")
    text = (await http.get("/metrics", headers=LOCAL)).text
    assert ada.user is not None
    for trace in ("NamedByAda", ada.user.id.hex, str(ada.user.id), ada.user.name):
        assert trace not in text


async def test_metrics_of_a_worker_are_published_again_after_a_failure(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(page, "PUBLISH_INTERVAL_S", 0)
    attempts, published = itertools.count(1), asyncio.Event()

    def samples() -> list[Sample]:
        if next(attempts) == 1:
            raise ZeroDivisionError
        published.set()
        return []

    publishing = asyncio.create_task(Metrics(samples).keep_publishing())
    async with patience():
        await published.wait()
    publishing.cancel()
    assert "cannot publish the metrics of a worker" in caplog.text


COUNT = 'howdah_operation_seconds_count{kind="query",outcome="OK"}'
SUM = 'howdah_operation_seconds_sum{kind="query",outcome="OK"}'
BUCKET = 'howdah_operation_seconds_bucket{kind="query",le="0.1",outcome="OK"}'

WORKER = """
import sys
from graph.server.metrics import Metrics
from graph.server.metrics.workers import share_metrics
from db.distributions import Distribution
from graph.server.metrics.catalogue import (
    EVENTS_UP, OPERATION_SECONDS, PLAN_HITS, STREAMS_OPEN, SWEEP_SUCCESS, WORKERS
)

folder, number, events_up, *seconds = sys.argv[1:]
share_metrics(folder, int(number))
seen = Distribution()
metrics = Metrics(
    lambda: [
        (OPERATION_SECONDS, ("query", "OK"), seen),
        (EVENTS_UP, (), events_up == "up"),
        (PLAN_HITS, (), 3),
        (STREAMS_OPEN, (), 2),
        (WORKERS, (), 1),
        (SWEEP_SUCCESS, ("runs",), int(number)),
    ]
)
for duration in seconds:
    seen.add(float(duration))
metrics.page()
print("ready", flush=True)
if not seconds:
    while True:
        seen.add(0.25)
        metrics._reported._refresh()
sys.stdin.read()
"""


@contextlib.asynccontextmanager
async def running(folder: Path, number: int, *arguments: str) -> AsyncIterator[Process]:
    """A process that writes metrics until it is killed with SIGKILL."""
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WORKER, str(folder), str(number), *arguments),
        stdin=PIPE,
        stdout=PIPE,
    )
    assert worker.stdout is not None
    try:
        assert await worker.stdout.readline() == b"ready\n"
        yield worker
    finally:
        worker.kill()
        await worker.communicate()
        mark_process_dead(number, str(folder))


def reported(folder: Path) -> dict[str, float]:
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))
    found = re.findall(r"^([^#\s]+) (\S+)$", generate_latest(registry).decode(), re.MULTILINE)
    return {name: float(value) for name, value in found}


async def test_metrics_of_workers_are_combined(tmp_path: Path) -> None:
    async with running(tmp_path, 1, "up", "0.05"), running(tmp_path, 2, "down", "0.5", "0.5"):
        found = reported(tmp_path)
    assert (found[COUNT], found[BUCKET], found[SUM]) == (3, 1, 1.05)
    assert found["howdah_plan_hits_total"] == 6
    assert found["howdah_streams_open"] == 4
    assert found["howdah_events_up"] == 0
    assert found['howdah_sweep_success_timestamp_seconds{sweep="runs"}'] == 1  # the oldest
    assert found["howdah_workers"] == 2
    assert found["process_resident_memory_bytes"] > 10_000_000


async def test_metrics_of_a_killed_worker_keep_counters_and_lose_gauges(tmp_path: Path) -> None:
    async with running(tmp_path, 1, "up", "0.05"):
        async with running(tmp_path, 2, "up", "0.05"):
            pass
        found = reported(tmp_path)
        assert (found[COUNT], found["howdah_plan_hits_total"]) == (2, 6)
        assert (found["howdah_workers"], found["howdah_streams_open"]) == (1, 2)
        files = sorted(tmp_path.iterdir())
        async with running(tmp_path, 2, "up", "0.05"):
            found = reported(tmp_path)
            assert (found[COUNT], found["howdah_plan_hits_total"]) == (3, 9)
            assert found["howdah_workers"] == 2
    assert set(files) >= set(tmp_path.iterdir())


async def test_metrics_never_decrease_when_a_worker_is_killed_while_it_writes(
    tmp_path: Path,
) -> None:
    seen = [0.0]
    for _ in range(3):
        async with running(tmp_path, 1, "up"):
            async with patience():
                # There is no sample before the first observation.
                while reported(tmp_path).get(COUNT, 0.0) <= seen[-1]:  # noqa: ASYNC110 - a file
                    await asyncio.sleep(0)  # else a worker that fails is waited for in vain
            seen += [reported(tmp_path).get(COUNT, 0.0) for _ in range(50)]
        found = reported(tmp_path)
        seen.append(found[COUNT])
        assert 0 <= found[SUM] / 0.25 - found[COUNT] <= 3  # one half observation a kill
    assert seen == sorted(seen)


async def test_metrics_can_be_read_while_a_worker_starts(tmp_path: Path) -> None:
    starting = asyncio.create_task(_start_and_kill(tmp_path))
    while not starting.done():
        reported(tmp_path)
        await asyncio.sleep(0)
    await starting


async def _start_and_kill(folder: Path) -> None:
    for _ in range(3):
        async with running(folder, 1, "up", "0.05"):
            pass

import os
import re
from types import SimpleNamespace
from typing import cast

import httpx
import pytest

from db.services import Services
from db.settings import Settings
from graph.operations import Plans
from graph.server.exposition import Durations, Snapshot, page
from graph.server.metrics import Metrics
from graph.server.metrics_board import Board
from graph.server.probes import _may_measure
from graph.transport.shutdown import Shutdown
from tests.fixtures.clients import Client

TOKEN = "0123456789abcdef-of-prometheus"


async def measured(http: httpx.AsyncClient) -> dict[str, float]:
    text = (await http.get("/metrics")).text
    return {
        name: float(value) for name, value in re.findall(r"^([^#\s]+) (\S+)$", text, re.MULTILINE)
    }


async def test_operations_are_counted_by_kind_and_outcome(
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


async def test_the_state_of_the_parts_is_told(ada: Client, http: httpx.AsyncClient) -> None:
    found = await measured(http)
    assert found["howdah_events_up"] == 1
    assert found["howdah_database_connections_in_use"] == 0
    assert found["howdah_database_waiting"] == 0
    assert found["process_resident_memory_bytes"] > 1_000_000
    before = found["howdah_event_readers"]
    async with ada.follow("subscription { taskChanged { kind } }") as changes:
        await ada.ask('mutation { createTask(input: {title: "Count me"}) { task { id } } }')
        await anext(changes)
        assert (await measured(http))["howdah_event_readers"] == before + 1


async def test_nothing_of_users_is_a_label(ada: Client, http: httpx.AsyncClient) -> None:
    await ada.ask("query NamedByAda { viewer { id } }")
    text = (await http.get("/metrics")).text
    assert ada.user is not None
    for trace in ("NamedByAda", ada.user.id.hex, str(ada.user.id), ada.user.name):
        assert trace not in text


@pytest.mark.parametrize(
    ("host", "token", "authorization", "allowed"),
    [
        ("127.0.0.1", None, "", True),
        ("::1", None, "", True),
        ("10.0.0.1", None, "", False),
        ("10.0.0.1", None, f"Bearer {TOKEN}", False),
        ("10.0.0.1", TOKEN, f"Bearer {TOKEN}", True),
        ("10.0.0.1", TOKEN, f"Bearer {TOKEN}x", False),
        ("10.0.0.1", TOKEN, TOKEN, False),
        ("10.0.0.1", TOKEN, "Bearer ä", False),
        ("127.0.0.1", TOKEN, "", False),
    ],
)
def test_who_may_measure(
    host: str, token: str | None, authorization: str, *, allowed: bool
) -> None:
    settings = Settings(host=host, metrics_token=token)
    assert _may_measure(settings, authorization) is allowed


def read(page: bytes) -> dict[str, float]:
    found = re.findall(r"^([^#\s]+) (\S+)$", page.decode(), re.MULTILINE)
    return {name: float(value) for name, value in found}


COUNT = 'howdah_operation_seconds_count{kind="query",outcome="OK"}'
BUCKET = 'howdah_operation_seconds_bucket{kind="query",le="0.1",outcome="OK"}'


def test_several_processes_are_one_server() -> None:
    fast, slow = Durations(), Durations()
    fast.add(0.05)
    slow.add(0.5)
    slow.add(0.5)
    here, ended = os.getpid(), 2**22 + 1  # no process has a number like that
    snapshots = [
        Snapshot(
            here, [("query", "OK", fast)], {"plan_hits": 1}, {"streams_open": 2, "events_up": 1}
        ),
        Snapshot(
            here, [("query", "OK", slow)], {"plan_hits": 5}, {"streams_open": 3, "events_up": 0}
        ),
        Snapshot(ended, [("query", "OK", fast)], {"plan_hits": 10}, {"streams_open": 50}),
    ]
    found = read(page(snapshots)[0])
    assert (found[COUNT], found[BUCKET]) == (4, 2)
    assert found["howdah_plan_hits_total"] == 16
    assert found["howdah_streams_open"] == 5  # those of the one that has ended are closed
    assert found["howdah_events_up"] == 0
    assert found["howdah_workers"] == 2


async def test_a_worker_in_the_place_of_another_counts_on(services: Services) -> None:
    board = Board.make(2)
    plans = cast("Plans", SimpleNamespace(hits=3, misses=1, count=1))
    shutdown = Shutdown()
    for expected in (1, 2):
        worker = Metrics(services, plans, shutdown, Board(board.descriptor, own=1))
        worker.count("query", "OK", 0.05)
        found = read(worker.page()[0])
        assert (found[COUNT], found[BUCKET]) == (expected, expected)
        assert found["howdah_plan_hits_total"] == 3 * expected
    os.close(board.descriptor)

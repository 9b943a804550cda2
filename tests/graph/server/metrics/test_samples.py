"""Every metric of the catalogue has a value once its subject has happened."""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import NoReturn

import httpx
import pytest
import websockets

from db.errors import NotFound, Overloaded, Unavailable
from db.kit.sweeps import sweep_in_background
from db.services import KEPT, Services, sweeps_of
from graph.server.metrics import page
from graph.server.metrics.catalogue import METRICS
from tests.fixtures.clients import SUBPROTOCOL, Client
from tests.fixtures.factories import make_connection_to
from tests.fixtures.patience import PATIENCE_S, patience
from tests.fixtures.targets import Target
from tests.fixtures.toy import client_of, serving
from tests.graph.runs.test_runs import execute
from tests.graph.server.metrics.test_metrics import LOCAL, measured
from tests.graph.tasks.test_tasks import followed

SEVERAL = "{ tasks(first: 1) { nodes { id } } taskStats { total } }"


@pytest.fixture(autouse=True)
def fresh_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "PAGE_PAUSE", 0)


@contextlib.asynccontextmanager
async def at_real_server(client: Client) -> AsyncIterator[Client]:
    """The client at a server with a socket, which has metrics of its own."""
    async with serving(client._app) as server, client_of(server) as http:
        yield Client(client._app, http, client.user, client.token)


@contextlib.asynccontextmanager
async def subscribed(client: Client, services: Services) -> AsyncIterator[None]:
    """A subscription to tasks, which has begun."""
    headers = client.headers | {"accept": "text/event-stream"}
    body = {"query": "subscription { taskChanged { kind } }"}
    async with client.http.stream("POST", "/graphql", json=body, headers=headers) as response:
        if client.token:
            await followed(services, client)
        else:
            await response.aread()
        yield


async def test_every_metric_has_a_sample(ada: Client, services: Services, target: Target) -> None:
    await services.objects.put_bytes("seen/one", b"12345")
    assert await services.objects.read_bytes("seen/one", start=0, end=5) == b"12345"
    with pytest.raises(NotFound):
        await services.objects.read_bytes("seen/none", start=0, end=5)
    await services.kept.count(services.database, KEPT)
    Overloaded("The test has no room.", hint="Wait.", cause="test")
    async with (
        sweep_in_background(
            sweeps_of(services), services.sweeps, is_in_charge=services.runner.heartbeat.is_oldest
        ),
        at_real_server(ada) as client,
        subscribed(client, services),
    ):
        connection = await make_connection_to(client, target)
        await execute(client, connection, "SELECT 1")
        await client.send("{ nothing }")
        await client.ask(SEVERAL)
        text = (await client.http.get("/metrics", headers=LOCAL)).text
    typed = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE howdah_")}
    others = {metric.name for metric in METRICS if metric.name.startswith("howdah_standby_")}
    assert typed | others == {metric.name for metric in METRICS}  # tests/survival/test_standbys.py


async def test_metrics_name_the_root_field_of_operations(
    ada: Client, http: httpx.AsyncClient
) -> None:
    await ada.ask("query First { taskStats { total } }")
    await ada.ask("query Second { again: taskStats { total } taskStats { total } }")
    await ada.ask(SEVERAL)
    await ada.ask('mutation { createTask(input: {title: "Seen"}) { task { id } } }')
    found = await measured(http)
    name = "howdah_field_seconds_count"
    assert found[f'{name}{{field="Query.taskStats"}}'] == 2
    assert found[f'{name}{{field="Query.*"}}'] == 1
    assert found[f'{name}{{field="Mutation.createTask"}}'] == 1
    assert found["howdah_operation_statements_count"] == 4


async def test_metrics_count_refused_requests(ada: Client, http: httpx.AsyncClient) -> None:
    await ada.send("{ nothing }")
    await ada.send("{ nothing }")
    found = await measured(http)
    assert found['howdah_requests_refused_total{code="BAD_USER_INPUT"}'] == 2


async def test_metrics_count_refused_access_tokens(
    ada: Client, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = "howdah_requests_refused_total"
    async with at_real_server(ada.with_token("nonsense")) as client:
        for document in ("{ viewer { id } }", "{ nothing }"):
            await client.send(document)
        await client.http.put("/graphql", headers=client.headers)
        assert await close_code(client) == 4403
        found = await measured(client.http)
        assert found[f'{refused}{{code="UNAUTHENTICATED"}}'] == 4
        assert f'{refused}{{code="BAD_USER_INPUT"}}' not in found

        async def fails(_: str) -> NoReturn:
            raise Unavailable("The database is away.", hint="Wait.")

        monkeypatch.setattr(services.identity.verifier, "verify", fails)
        await client.send("{ viewer { id } }")
        assert await close_code(client) == 1013
        assert (await measured(client.http))[f'{refused}{{code="UNAVAILABLE"}}'] == 2


async def close_code(client: Client) -> int | None:
    """The code with which the server closes a socket that sends the token of the client."""
    address = f"ws://{client.http.base_url.netloc.decode()}/graphql"
    connecting = websockets.connect(address, subprotocols=[SUBPROTOCOL], open_timeout=PATIENCE_S)
    async with connecting as socket, patience():
        await socket.send(json.dumps({"type": "connection_init", "payload": client.headers}))
        await socket.wait_closed()
    return socket.close_code


async def test_metrics_count_subscriptions(ada: Client, services: Services) -> None:
    is_open = 'howdah_subscriptions_open{field="Subscription.taskChanged"}'
    async with at_real_server(ada) as client:
        async with subscribed(client.with_token(""), services):
            pass
        async with subscribed(client, services):
            found = await measured(client.http)
            assert found[is_open] == 1
            assert found['howdah_subscriptions_total{outcome="UNAUTHENTICATED"}'] == 1
        async with patience():
            while (await measured(client.http))[is_open]:
                pass


async def test_metrics_count_runs_and_connections_of_targets(
    ada: Client, http: httpx.AsyncClient, target: Target
) -> None:
    connection = await make_connection_to(ada, target)
    await execute(ada, connection, "SELECT 1")
    await execute(ada, connection, "SELECT broken")
    found = await measured(http)
    assert found['howdah_runs_ended_total{state="SUCCEEDED"}'] == 1
    assert found['howdah_runs_ended_total{state="FAILED"}'] == 1
    assert found["howdah_run_seconds_count"] == found["howdah_run_queue_seconds_count"] == 2
    assert found["howdah_runs_running"] == found["howdah_run_users_waiting"] == 0
    assert found["howdah_target_pools"] == 1
    assert found['howdah_target_connections{state="idle"}'] == 1
    assert found['howdah_target_connects_total{outcome="OK"}'] == 1
    assert found["howdah_target_breakers_open"] == found["howdah_tunnels_open"] == 0


async def test_metrics_count_statements_by_kind(ada: Client, http: httpx.AsyncClient) -> None:
    await ada.ask('mutation { createTask(input: {title: "Seen"}) { task { id } } }')
    await ada.ask("{ taskStats { total } }")
    before = await measured(http)
    await ada.ask("{ taskStats { total } }")
    found = await measured(http)
    name = "howdah_database_statement_seconds_count"
    assert found[f'{name}{{kind="read"}}'] == before[f'{name}{{kind="read"}}'] + 1
    assert found[f'{name}{{kind="change"}}'] >= 1

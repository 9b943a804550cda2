"""The operation log: which operations it has, what a line says, and what it never says."""

import dataclasses
import io
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from db.services import Services
from db.settings import Settings
from graph.app import build_app
from graph.auth import authenticate
from graph.schema import schema
from graph.server.logs import logging_to
from tests.fixtures.clients import Client
from tests.fixtures.patience import patience
from tests.fixtures.toy import client_of, serving
from tests.graph.server.test_logs import levels  # noqa: F401 - a fixture
from tests.graph.tasks.test_tasks import followed

SECRET = "Feed-the-elephant"
CREATE = """mutation Create($title: String!) {
  createTask(input: {title: $title}) { task { id title } } }"""


class Log:
    """The lines of a server with these settings, and its client."""

    def __init__(self, stream: io.StringIO, client: Client) -> None:
        self._stream = stream
        self.client = client

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    @property
    def entries(self) -> list[Any]:
        lines = [json.loads(line) for line in self.text.splitlines()]
        return [line for line in lines if line["logger"] == "graph.server.operation_log"]

    @property
    def operations(self) -> list[Any]:
        return [entry["operation"] for entry in self.entries]


@pytest.fixture
def logged(ada: Client, services: Services, tmp_path: Path) -> Callable[..., Any]:
    @asynccontextmanager
    async def start(**chosen: Any) -> AsyncIterator[Log]:
        settings = msgspec.structs.replace(
            services.settings, data_dir=tmp_path, log_format="json", **chosen
        )

        @asynccontextmanager
        async def opened(_: Settings) -> AsyncIterator[Services]:
            yield dataclasses.replace(services, settings=settings)

        app = build_app(settings, schema=schema, authenticate=authenticate, open_services=opened)
        stream = io.StringIO()
        with logging_to(settings, stream):
            async with serving(app) as server, client_of(server) as http:
                yield Log(stream, Client(app, http, ada.user, ada.token))

    return start


Logged = Callable[..., AbstractAsyncContextManager[Log]]


async def test_operation_log_has_one_line_for_each_operation(logged: Logged) -> None:
    async with logged(operation_log="all") as log:
        client = log.client
        answer = await client.http.post(
            "/graphql",
            json={"query": CREATE, "variables": {"title": SECRET}},
            headers=client.headers,
        )
        await client.ask("{ taskStats { total } tasks(first: 2) { nodes { id } } }")
        await client.with_token("").send("query Mine { viewer { id } taskStats { total } }")
    create, read, failed = log.operations
    assert client.user is not None
    assert create.pop("milliseconds") > 0
    assert create.pop("statements") >= 1
    assert create == {
        "name": "Create",
        "kind": "mutation",
        "field": "Mutation.createTask",
        "code": "OK",
        "viewer": client.user.id.hex,
        "address": "127.0.0.1",
        "cost": 4,
    }
    assert log.entries[0]["requestId"] == answer.headers["x-request-id"]
    assert log.entries[0]["message"].startswith("mutation Create OK in ")
    assert (read["name"], read["field"], read["statements"]) == (None, "Query.*", 2)
    assert (failed["code"], failed["viewer"]) == ("UNAUTHENTICATED", None)
    assert SECRET not in log.text


async def test_operation_log_has_refused_requests_and_subscriptions(
    logged: Logged, services: Services
) -> None:
    headers = {"accept": "text/event-stream"}
    body = {"query": "subscription Live { taskChanged { kind } }"}
    async with logged(operation_log="all") as log:
        client = log.client
        await client.send("query Hidden { nothing }")
        (refused,) = log.operations
        async with client.http.stream(
            "POST", "/graphql", json=body, headers=client.headers | headers
        ):
            await followed(services, client)
            count = len(log.operations)
        async with patience():
            while not [one for one in log.operations if one["kind"] == "subscription"]:
                await client.ask("{ taskStats { total } }")
    assert (refused["code"], refused["name"], refused["kind"]) == ("BAD_USER_INPUT", None, None)
    ended = next(one for one in log.operations[count:] if one["kind"] == "subscription")
    assert (ended["name"], ended["field"]) == ("Live", "Subscription.taskChanged")
    assert (ended["code"], ended["milliseconds"] > 0) == ("OK", True)


async def test_operation_log_has_slow_operations_only_by_default(
    logged: Logged, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with logged(slow_operation_ms=60_000) as log:
        await log.client.ask("query Fast { taskStats { total } }")
        await log.client.send("query Wrong { taskStats { nothing } }")
        assert log.operations == []
    async with logged(slow_operation_ms=1) as log:
        monkeypatch.setattr(services.database, "observe", lambda _: time.sleep(0.01))
        await log.client.ask("query Slow { taskStats { total } }")
        assert [one["name"] for one in log.operations] == ["Slow"]


async def test_operation_log_is_sampled(logged: Logged) -> None:
    async with logged(operation_log="all", operation_log_every=3, slow_operation_ms=60_000) as log:
        for _ in range(7):
            await log.client.ask("query Fast { taskStats { total } }")
        await log.client.send("query Wrong { __typename taskChanged }")
        await log.client.with_token("").send("query Failed { taskStats { total } }")
        assert [one["code"] for one in log.operations] == [
            "OK",
            "OK",
            "BAD_USER_INPUT",
            "UNAUTHENTICATED",
        ]


async def test_operation_log_can_be_switched_off(logged: Logged) -> None:
    async with logged(operation_log="off", slow_operation_ms=1) as log:
        await log.client.ask("query Slow { taskStats { total } }")
        await log.client.send("query Wrong { nothing }")
        assert log.operations == []

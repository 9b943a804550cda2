"""A served Howdah sends its spans to a collector, over OTLP."""

import asyncio
from pathlib import Path
from typing import Any

from db.version import __version__
from tests.fixtures.otlp import OtlpCollector, Span
from tests.fixtures.patience import patience
from tests.fixtures.replicas import EXECUTE, RUN
from tests.fixtures.served import Served, served
from tests.fixtures.targets import CANARY, Target

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SECRET = "a value of a user"
NESTED = (
    """query Nested { buckets(first: 5) { nodes { name files(first: 5) { nodes { name } } } } }"""
)
SAVE = """mutation Save($input: SaveConnectionInput!) {
  saveConnection(input: $input) { connection { id } } }"""


OPEN = """mutation Open($input: OpenSessionInput!) {
  openSession(input: $input) { session { id } } }"""
CREATE_TASK = f"""mutation {{ createTask(input: {{title: "{SECRET}"}}) {{ task {{ id }} }} }}"""
FOLLOW = "subscription Follow { taskChanged { kind task { title } } }"


async def save_connection(server: Served, target: Target) -> str:
    saved = await server.ask(
        SAVE,
        input=target.connection(name="Orders", savePassword=True),
    )
    return str(saved["saveConnection"]["connection"]["id"])


async def run_statement(server: Served, **place: str) -> str:
    """Executes a statement to its end. Returns the ID of the run."""
    values = {"statement": f"SELECT '{SECRET}' AS told"} | place
    run: Any = (await server.ask(EXECUTE, input=values))["executeQuery"]["run"]
    async with patience():
        while run["state"] in {"QUEUED", "RUNNING"}:
            await asyncio.sleep(0.01)
            run = (await server.ask(RUN, id=run["id"]))["queryRun"] | {"id": run["id"]}
    return str(run["id"])


async def receive_event(server: Served) -> None:
    """Subscribes, and changes tasks until the subscription has shown a change."""

    async def first_event() -> None:
        async with server.http.stream(
            "POST",
            server.address,
            json={"query": FOLLOW},
            headers={"accept": "text/event-stream"},
        ) as stream:
            async for line in stream.aiter_lines():
                if line == "event: next":
                    return

    received = asyncio.create_task(first_event())
    async with patience():
        while not received.done():
            await server.ask(CREATE_TASK)
            await asyncio.wait({received}, timeout=0.2)
    await received


async def test_served_howdah_exports_request_operation_loader_statement_and_run(
    tmp_path: Path, otlp_collector: OtlpCollector, target: Target
) -> None:
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": otlp_collector.address,
        "OTEL_SERVICE_NAME": "howdah-of-a-test",
    }
    async with served(tmp_path / "data", **environment) as server:
        for name in ("one", "two"):
            await server.ask(
                "mutation($name: String!) { createBucket(input: {name: $name}) { bucket { id } } }",
                name=name,
            )
        server.http.headers["traceparent"] = f"00-{TRACE}-{CALLER}-01"
        server.http.headers["x-request-id"] = "asked-by-a-test"
        await server.ask(NESTED)
        del server.http.headers["traceparent"]
        connection = await save_connection(server, target)
        run_id = await run_statement(server, connectionId=connection)
        opened = await server.ask(OPEN, input={"connectionId": connection})
        session = opened["openSession"]["session"]["id"]
        run_of_session = await run_statement(server, sessionId=session)
        await receive_event(server)
        await server.http.get(server.address.replace("/graphql", "/healthz"))
        nothing = await server.http.get(server.address.replace("/graphql", f"/{SECRET}"))
        assert nothing.status_code == 404
    # The server has ended, so all its spans have arrived.
    (resource,) = {tuple(sorted(span.resource.items())) for span in otlp_collector.spans}
    named = dict(resource)
    assert (named["service.name"], named["service.version"]) == ("howdah-of-a-test", __version__)
    assert named["service.instance.id"]
    check_request(otlp_collector)
    check_run(otlp_collector, run_id)
    check_run_of_session(otlp_collector, run_of_session, session)
    check_subscription(otlp_collector)
    assert not any("healthz" in str(span.attributes) for span in otlp_collector.spans)
    sent = b"".join(otlp_collector.bodies)
    for secret in (SECRET, CANARY, server.http.headers["authorization"].split()[1]):
        assert secret.encode() not in sent


def check_request(collector: OtlpCollector) -> None:
    operation = collector.one("query Nested")
    (request,) = [span for span in collector.spans if span.id == operation.parent_id]
    assert (request.trace_id, request.parent_id) == (TRACE, CALLER)
    assert request.name == "POST /graphql"
    assert request.attributes["http.response.status_code"] == 200
    for span in (request, operation):
        assert span.attributes["howdah.request_id"] == "asked-by-a-test"
    assert operation.attributes["howdah.code"] == "OK"
    assert str(operation.attributes["user.id"]).startswith("user_")
    (loader,) = [span for span in collector.below(operation) if span.name.startswith("load ")]
    assert (loader.name, loader.attributes["howdah.loader.keys"]) == ("load FilesOfBucket", 2)
    assert [span.name for span in statements(collector, operation)] == ["SELECT buckets"]
    (statement,) = statements(collector, loader)
    assert "$1" in str(statement.attributes["db.query.text"])


def find_run(collector: OtlpCollector, run_id: str) -> Span:
    (run,) = [run for run in collector.named("run") if run.attributes["howdah.run.id"] == run_id]
    return run


def check_run_of_session(collector: OtlpCollector, run_id: str, session: str) -> None:
    """A task of the session executes it, which another operation has started."""
    run = find_run(collector, run_id)
    assert run.parent_id == ""
    assert run.attributes["howdah.session.id"] == session
    (opening,) = collector.named("mutation Open")
    assert run.trace_id != opening.trace_id


def check_subscription(collector: OtlpCollector) -> None:
    subscription = collector.one("subscription Follow")
    assert int(subscription.attributes["howdah.events"]) >= 1
    (request,) = [span for span in collector.spans if span.id == subscription.parent_id]
    assert request.name == "POST /graphql"
    assert statements(collector, subscription), "the task of an event was read outside of it"


def check_run(collector: OtlpCollector, run_id: str) -> None:
    run = find_run(collector, run_id)
    assert run.attributes["howdah.run.state"] == "SUCCEEDED"
    assert run.attributes["db.response.returned_rows"] == 1
    (operation,) = [span for span in collector.spans if span.id == run.parent_id]
    assert operation.attributes["graphql.operation.type"] == "mutation"
    assert "UPDATE query_runs" in {span.name for span in statements(collector, run)}


def statements(collector: OtlpCollector, span: Span) -> list[Span]:
    """Without the settings of a connection that was opened for them."""
    below = [child for child in collector.below(span) if child.name != "SET"]
    return [child for child in below if "db.query.text" in child.attributes]

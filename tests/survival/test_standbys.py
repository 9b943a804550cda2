"""No client sees less than it has seen, wherever its queries are read."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest

from db.concurrency.waiting import cancel_all
from db.errors import BadInput
from db.own_database import standby_urls
from db.postgres.standbys import standbys as standbys_module
from db.postgres.standbys.figures import Reason
from db.postgres.standbys.positions import BEYOND
from db.settings import Settings
from graph.server.metrics.catalogue import METRICS
from tests.fixtures.connected import connected
from tests.fixtures.patience import PATIENCE_S, patience
from tests.fixtures.ports import free_port
from tests.fixtures.replicas import OpenReplica, Socket
from tests.fixtures.standby_readers import SEEN, TITLES, Reader, standbys_of, wait_for_lives
from tests.fixtures.standbys import StandbyGroup
from tests.graph.commands.test_cli import howdah


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
    passed_over = standbys_of(reader.replica).figures.passed_over
    before = passed_over[Reason.BEHIND]
    async with standby_group.paused(), patience():
        await reader.create("second")
        while passed_over[Reason.BEHIND] < before + 2:
            assert await reader.titles() == {"first", "second"}
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
    async with standby_group.paused(slow), patience():
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


@pytest.mark.parametrize("value", ["", "new", "{seen}00", "{seen} -", "{beyond}"])
async def test_unusable_position_leads_to_the_primary_and_is_replaced(
    reader: Reader, value: str
) -> None:
    await reader.create("first")
    written, beyond = reader.position, standbys_of(reader.replica).format(BEYOND)
    reader.seen = value.format(seen=reader.seen, beyond=beyond)
    assert not await reader.is_served_by_standby()
    assert written <= reader.position < BEYOND


async def test_client_sees_what_any_of_its_positions_has(
    reader: Reader, standby_group: StandbyGroup
) -> None:
    """Of concurrent requests: which of two positions is the later one, only the server knows."""
    await reader.create("first")
    await reader.wait_for_standby()
    old = reader.seen
    async with standby_group.paused():
        await reader.create("second")
        for seen in (f"{old} {reader.seen}", f"{reader.seen} {old}"):
            reader.seen = seen
            assert await reader.titles() == {"first", "second"}


async def test_standby_that_lacks_what_the_primary_had_long_ago_is_passed_over(
    reader: Reader, standby_group: StandbyGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for a client that has seen nothing newer."""
    await reader.create("first")
    await reader.wait_for_standby()
    old = reader.seen
    async with standby_group.paused(), patience():
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
            async with patience():
                while passed_over[Reason.BEHIND] < 2:
                    later.seen = old
                    assert not await later.is_served_by_standby()


FOLLOW = "subscription { taskChanged { kind task { title } } }"


async def follow_over_websocket(reader: Reader) -> AsyncGenerator[dict[str, Any]]:
    payload = {"Authorization": f"Bearer {reader.token}", SEEN: ""}
    async with Socket.opened(reader.replica.address, payload) as socket:
        await socket.subscribe(FOLLOW)
        while True:
            yield (await socket.hear())["payload"]


async def follow_over_sse(reader: Reader) -> AsyncGenerator[dict[str, Any]]:
    headers = {
        "Authorization": f"Bearer {reader.token}",
        "Accept": "text/event-stream",
        SEEN: "",
    }
    body = {"query": FOLLOW, "extensions": {"cost": True}}
    url = "/graphql"
    async with reader.replica.http.stream("POST", url, json=body, headers=headers) as response:
        assert SEEN not in response.headers
        async for line in response.aiter_lines():
            if line.startswith("data: {"):
                yield json.loads(line.removeprefix("data: "))


@pytest.mark.parametrize("follow", [follow_over_websocket, follow_over_sse])
async def test_client_that_reads_again_after_an_event_sees_its_change(
    reader: Reader,
    standby_group: StandbyGroup,
    follow: Callable[[Reader], AsyncGenerator[dict[str, Any]]],
) -> None:
    await reader.create("first")
    await reader.wait_for_standby()
    writer = reader.at(reader.replica)
    events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def listen() -> None:
        async for event in follow(reader):
            await events.put(event)

    listening = asyncio.create_task(listen())
    try:
        async with patience():
            while events.empty():  # it may not have subscribed yet
                await writer.create("an event")
                await asyncio.sleep(0.05)
        async with standby_group.paused(), patience():
            await writer.create("second")
            while True:
                event = await events.get()
                if event["data"]["taskChanged"]["task"]["title"] == "second":
                    break
            reader.seen = event["extensions"]["seen"]
            assert "second" in await reader.titles()
    finally:
        await cancel_all([listening])


async def test_query_over_a_socket_has_a_position(reader: Reader) -> None:
    await reader.create("first")
    payload: Any = {"headers": {"Authorization": f"Bearer {reader.token}"}, SEEN: ""}
    async with Socket.opened(reader.replica.address, payload) as socket:
        await socket.subscribe(TITLES)
        extensions = (await socket.hear())["payload"]["extensions"]
    reader.seen, earlier = extensions["seen"], reader.position
    assert reader.position >= earlier
    assert await reader.titles() == {"first"}


async def test_position_of_anonymous_client_leads_to_the_primary(reader: Reader) -> None:
    await reader.create("first")
    assert reader.seen is not None
    http, body = reader.replica.http, {"query": "{ health { status } }"}
    received = []
    for seen in ("", reader.seen):
        answer = await http.post("/graphql", json=body, headers={SEEN: seen})
        assert answer.json()["data"] == {"health": {"status": "OK"}}
        received.append(answer.headers[SEEN])
    received.append((await http.get("/healthz", headers={SEEN: ""})).headers[SEEN])
    async with Socket.opened(reader.replica.address, {SEEN: ""}) as socket:
        await socket.subscribe(body["query"])
        received.append((await socket.hear())["payload"]["extensions"]["seen"])
    for seen in received:
        reader.seen = seen
        assert reader.position == BEYOND
        assert await reader.titles() == {"first"}
        assert reader.position < BEYOND


async def test_results_have_no_position_unless_the_client_keeps_one(reader: Reader) -> None:
    payload = {"Authorization": f"Bearer {reader.token}"}
    async with Socket.opened(reader.replica.address, payload) as socket:
        await socket.subscribe(TITLES)
        assert "extensions" not in (await socket.hear())["payload"]


async def test_metrics_and_readiness_tell_of_a_standby_that_is_behind(
    reader: Reader, standby_group: StandbyGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = standby_group.standbys[1]
    http = reader.replica.http
    await reader.create("first")
    await reader.wait_for_standby()
    async with standby_group.paused(slow), patience():
        monkeypatch.setattr(standbys_module, "MAX_LAG_S", 0.5)
        fault = "Standby 2 is not read: it is too far behind.\n"
        while (ready := await http.get("/readyz")).text != f"degraded\n{fault}":
            await reader.create("a change")
        assert ready.status_code == 200
        assert "a change" in await reader.titles()
        lines = (await http.get("/metrics")).text.splitlines()
    samples = dict(line.rsplit(" ", 1) for line in lines if line.startswith("howdah_standby_"))
    names = {name.partition("{")[0] for name in samples}
    assert names == {each.name for each in METRICS if each.name.startswith("howdah_standby_")}
    assert float(samples['howdah_standby_up{standby="2"}']) == 0
    assert float(samples['howdah_standby_lag_bytes{standby="2"}']) > 0
    assert float(samples['howdah_standby_queries_total{server="standby"}']) > 0
    assert float(samples['howdah_standby_passed_over_total{reason="behind"}']) > 0


async def test_doctor_examines_each_standby(
    standby_group: StandbyGroup, committed_url: str, tmp_path: Path
) -> None:
    first, second = standby_group.standbys
    primary = standby_group.primary.url
    nobody = f"postgresql://ann:hunter2@127.0.0.1:{free_port()}/howdah"
    urls = f"{first.url},{second.url} {committed_url}, {primary} {nobody}"
    environment = {"HOWDAH_DATABASE_URL": primary, "HOWDAH_ENV": "development"}
    await second.administer("ALTER SYSTEM SET hot_standby_feedback = off")
    await second.administer("SELECT pg_reload_conf()")
    async with standby_group.paused(first):
        async with connected(primary) as connection:
            await connection.execute("CREATE TABLE made_while_paused ()")
        ended = await howdah(
            *("doctor", "--data-dir", str(tmp_path)),
            **environment,
            HOWDAH_READ_DATABASE_URLS=urls,
        )
    lines = [line.split(maxsplit=2) for line in ended.output.splitlines() if " standbys " in line]
    assert [state for state, _, _ in lines] == ["attention", "ok", *["attention"] * 3]
    said = [message for _, _, message in lines]
    assert "bytes behind" in said[0]
    assert "another system identifier" in said[2]
    assert "accepts changes" in said[3]
    assert "No PostgreSQL server responds" in said[4]
    assert "hunter2" not in ended.output + ended.errors


@pytest.mark.parametrize(
    ("urls", "words"),
    [
        ("postgresql://ann:hunter2@db1/x, mysql://ann@db2/x", "HOWDAH_READ_DATABASE_URLS"),
        ("postgresql://ann:hunter2@db1:6432/x", "leads through a pooler"),
    ],
)
def test_faulty_urls_of_standbys_are_named_without_secrets(urls: str, words: str) -> None:
    settings = Settings(database_url="postgresql://db/x", read_database_urls=urls)
    with pytest.raises(BadInput) as caught:
        standby_urls(settings)
    assert words in caught.value.message
    assert "hunter2" not in caught.value.message + caught.value.hint


def test_urls_of_standbys_are_separated_by_commas_or_spaces() -> None:
    """A comma within a URL separates its hosts."""
    urls = "postgresql://a,b:5433/x , postgres://c/x\npostgresql://d/x"
    settings = Settings(database_url="postgresql://db/x", read_database_urls=urls)
    found = [[host for host, _ in url.hosts] for url in standby_urls(settings)]
    assert found == [["a", "b"], ["c"], ["d"]]


CREATE_BUCKET = """mutation {
  createBucket(input: {name: "uploads"}) { bucket { id } } }"""
CREATE_FILE = """mutation($bucket: ID!) {
  createFile(input: {bucketId: $bucket, location: "one", size: "5"}) {
    uploadUrl file { id } } }"""
UPLOADED = """query($id: ID!) { file(id: $id) { status } }"""


async def test_client_sees_its_upload(
    reader: Reader, standby_group: StandbyGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standbys_module, "MAX_LAG_S", PATIENCE_S)
    bucket = (await reader.ask(CREATE_BUCKET))["createBucket"]["bucket"]["id"]
    made = (await reader.ask(CREATE_FILE, bucket=bucket))["createFile"]
    await reader.wait_for_standby()
    async with standby_group.paused():
        http = reader.replica.http
        headers = {SEEN: reader.seen or ""}
        answer = await http.put(made["uploadUrl"], content=b"12345", headers=headers)
        assert answer.is_success
        reader.seen = answer.headers[SEEN]
        found = await reader.ask(UPLOADED, id=made["file"]["id"])
        assert found["file"]["status"] == "STORED"
        assert SEEN not in (await http.get("/healthz")).headers

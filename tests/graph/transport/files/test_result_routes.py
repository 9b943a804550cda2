"""Downloads of results by signed links."""

import asyncio
import contextlib
import sys
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import httpx
import pytest
from arro3.io import read_ipc_stream
from starlette.applications import Starlette

from db.errors import NotFound
from db.kit.base import OwnerId
from db.services import Services
from db.workbench.results import parquet
from db.workbench.results.record_batches import PIECE_BYTES
from db.workbench.results.result_files import MAX_STREAMS_PER_USER
from graph.kit.ids import parse_id
from tests.db.workbench.execution.test_run_values import SAMPLES
from tests.fixtures.clients import Client
from tests.fixtures.factories import make_connection_to
from tests.fixtures.patience import patience
from tests.fixtures.targets import Target
from tests.fixtures.toy import serving

EXECUTE = """mutation($input: ExecuteQueryInput!) {
  executeQuery(input: $input) { run { id state } } }"""
LINK = """query($id: ID!, $format: ResultFormat!) {
  queryRun(id: $id) { downloadUrl(format: $format) } }"""
FORMATS = ("CSV", "JSONL", "PARQUET", "ARROW")
NOISE = """SELECT string_agg(md5((1000 * i + j)::text), '')
    FROM generate_series(1, 400) i, generate_series(1, 1000) j GROUP BY i"""
"""About 13 MB that can hardly be compressed to less than half."""


@pytest.fixture
async def connection(ada: Client, target: Target) -> str:
    return await make_connection_to(ada, target)


async def a_run(client: Client, connection: str, statement: str) -> str:
    asked = {"connectionId": connection, "statement": statement, "waitMs": 20_000}
    run = (await client.ask(EXECUTE, input=asked))["executeQuery"]["run"]
    assert run["state"] == "SUCCEEDED"
    return str(run["id"])


async def link(client: Client, run: str, format: str) -> str:
    return str((await client.ask(LINK, id=run, format=format))["queryRun"]["downloadUrl"])


def id_of(run: str) -> UUID:
    return parse_id("run", run)


def owner_of(client: Client) -> OwnerId:
    assert client.user is not None
    return OwnerId(client.user.id)


def error_of(answer: httpx.Response) -> Any:
    return answer.json()["errors"][0]["extensions"]


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        ("CSV", b'a,b,a\r\n1,"x, ""y""",\r\n2,"",true\r\n'),
        ("JSONL", b'{"a":1,"b":"x, \\"y\\"","a_2":null}\n{"a":2,"b":"","a_2":true}\n'),
    ],
)
async def test_download_as_lines(
    ada: Client, connection: str, format: str, expected: bytes
) -> None:
    statement = (
        """SELECT a, b, c AS a FROM (VALUES (1, 'x, "y"', NULL), (2, '', true)) t (a, b, c)"""
    )
    run = await a_run(ada, connection, statement)
    answer = await ada.http.get(await link(ada, run, format))
    assert (answer.status_code, answer.content) == (200, expected)


async def test_download_as_parquet(ada: Client, connection: str, tmp_path: Path) -> None:
    run = await a_run(
        ada,
        connection,
        "SELECT i, i / 2.0::float8 AS half, 1e30::numeric(40, 3) AS big, NULL::bool AS none, "
        "repeat('é', i % 100) AS i FROM generate_series(1, 30000) AS i",
    )
    answer = await ada.http.get(await link(ada, run, "PARQUET"))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    name = f'attachment; filename="result-{id_of(run).hex[:8]}.parquet"'
    assert answer.headers["content-disposition"] == name
    (tmp_path / "a.parquet").write_bytes(answer.content)
    found = duckdb.read_parquet(str(tmp_path / "a.parquet"))
    assert found.columns == ["i", "half", "big", "none", "i_2"]
    assert [str(kind) for kind in found.types] == [
        *("INTEGER", "DOUBLE", "VARCHAR", "BOOLEAN", "VARCHAR")
    ]
    rows = found.fetchall()
    assert [row[0] for row in rows] == list(range(1, 30_001))
    assert rows[98][:4] == (99, 49.5, "1" + "0" * 30 + ".000", None)
    assert rows[98][4] == "é" * 99


async def test_download_as_parquet_and_arrow_equals_rows_for_every_type(
    ada: Client, connection: str, tmp_path: Path
) -> None:
    samples = {kind: texts[0] for kind, texts in SAMPLES.items() if texts}
    values = (f'$x${text}$x$::pg_catalog."{kind}"' for kind, text in samples.items())
    run = await a_run(ada, connection, f"SELECT {', '.join(values)}")
    (tmp_path / "a.parquet").write_bytes(
        (await ada.http.get(await link(ada, run, "PARQUET"))).content
    )
    rows = "query($id: ID!) { queryRun(id: $id) { rows(first: 1) { rows } } }"
    shown = (await ada.ask(rows, id=run))["queryRun"]["rows"]["rows"]
    found = duckdb.read_parquet(str(tmp_path / "a.parquet")).fetchall()
    assert [list(row) for row in found] == shown
    assert len(shown[0]) > 50
    stream = (await ada.http.get(await link(ada, run, "ARROW"))).content
    assert [
        column[0].as_py() for column in read_ipc_stream(BytesIO(stream)).read_all().columns
    ] == shown[0]


@pytest.mark.parametrize("format", FORMATS)
async def test_download_head_has_no_body(ada: Client, connection: str, format: str) -> None:
    url = await link(ada, await a_run(ada, connection, "SELECT 1"), format)
    head, get = await ada.http.head(url), await ada.http.get(url)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "content-disposition", "x-content-type-options"):
        assert head.headers[name] == get.headers[name]


async def test_download_as_parquet_without_extra_has_no_link(
    ada: Client, connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await a_run(ada, connection, "SELECT 1")
    url = await link(ada, run, "PARQUET")
    for name in [name for name in sys.modules if name.split(".")[0] == "arro3"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "arro3", None)
    refused = await ada.send(LINK, id=run, format="PARQUET")
    assert (refused.code, refused.data) == ("UNAVAILABLE", {"queryRun": {"downloadUrl": None}})
    assert "howdah[parquet]" in refused.errors[0]["extensions"]["hint"]
    answer = await ada.http.get(url)  # another server gave it out
    assert (answer.status_code, error_of(answer)["code"]) == (503, "UNAVAILABLE")
    assert (await ada.http.get(await link(ada, run, "CSV"))).status_code == 200


@pytest.mark.parametrize("format", FORMATS)
async def test_download_of_lost_result_fails_before_response(
    ada: Client, connection: str, services: Services, format: str
) -> None:
    run = await a_run(ada, connection, NOISE)
    url = await link(ada, run, format)
    await services.results.remove(owner_of(ada), id_of(run))
    answer = await ada.http.get(url)
    assert (answer.status_code, error_of(answer)["code"]) == (404, "NOT_FOUND")
    assert services.result_files._slots.in_use == 0


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
async def test_download_of_result_deleted_meanwhile_is_aborted(
    ada: Client,
    connection: str,
    services: Services,
    format: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parquet, "GROUP_BYTES", PIECE_BYTES)
    run = await a_run(ada, connection, NOISE)
    row = await services.runner.wait_until_finished(owner_of(ada), id_of(run), within_s=0)
    pieces = services.result_files.stream(row, format)
    await anext(pieces)
    await services.results.remove(owner_of(ada), id_of(run))
    with pytest.raises(NotFound):
        [piece async for piece in pieces]
    assert services.result_files._slots.in_use == 0


async def test_download_aborted_by_client_ends_its_work(
    ada: Client, connection: str, services: Services, app: Starlette
) -> None:
    url = await link(ada, await a_run(ada, connection, NOISE), "PARQUET")
    target = httpx.URL(url).raw_path.decode()
    async with serving(app) as server:
        host, _, port = server.address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.readexactly(100_000)
        assert services.result_files._slots.in_use == 1
        writer.close()
        await writer.wait_closed()
        async with patience():
            while services.result_files._slots.in_use:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0.01)


async def test_download_is_limited_per_user(
    ada: Client,
    bob: Client,
    connection: str,
    services: Services,
    target: Target,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(services.result_files._slots, "_wait_s", 0)
    mine = await a_run(ada, connection, NOISE)
    url = await link(ada, mine, "CSV")
    theirs = await a_run(bob, await make_connection_to(bob, target), "SELECT 1")
    run = await services.runner.wait_until_finished(owner_of(ada), id_of(mine), within_s=0)
    async with contextlib.AsyncExitStack() as going:
        for _ in range(MAX_STREAMS_PER_USER):
            pieces = services.result_files.stream(run, "csv")
            await anext(await going.enter_async_context(contextlib.aclosing(pieces)))
        answer = await ada.http.get(url)
        assert (answer.status_code, error_of(answer)["code"]) == (503, "OVERLOADED")
        assert answer.headers["retry-after"] == "1"
        assert (await bob.http.get(await link(bob, theirs, "CSV"))).status_code == 200
    assert (await ada.http.get(url)).status_code == 200

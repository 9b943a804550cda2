"""Results are exported as files of buckets, completely or not at all."""

import asyncio
import dataclasses
import hashlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from db.kit.base import OwnerId, new_id
from db.objects.store import ObjectStore
from db.services import Services
from db.storage import read_bytes
from db.workbench.exports import ExportRequest, export_result
from graph.kit.ids import parse_id
from tests.fixtures.clients import Client
from tests.fixtures.factories import make_bsp, make_bucket, make_connection_to
from tests.fixtures.targets import Target

EXECUTE = """mutation($input: ExecuteQueryInput!) {
  executeQuery(input: $input) { run { id state } } }"""
EXPORT = """mutation($input: ExportQueryRunInput!) { exportQueryRun(input: $input) { file {
  id location size fingerprint contentType status desiredReplicas replicas { bsp { id } }
  bucket { id fileCount totalSize } downloadUrl } } }"""
BUCKET = """query($id: ID!) { bucket(id: $id) {
  fileCount totalSize files(first: 9) { nodes { location } } } }"""
LINK = """query($id: ID!, $format: ResultFormat!) {
  queryRun(id: $id) { downloadUrl(format: $format) } }"""
CANCEL = "mutation($id: ID!) { cancelQuery(input: {id: $id}) { outcome } }"
EMPTY = {"bucket": {"fileCount": 0, "totalSize": "0", "files": {"nodes": []}}}
NOISE = """SELECT string_agg(md5((1000 * i + j)::text), '')
    FROM generate_series(1, 400) i, generate_series(1, 1000) j GROUP BY i"""


@pytest.fixture
async def connection(ada: Client, target: Target) -> str:
    return await make_connection_to(ada, target)


@pytest.fixture
async def bucket(ada: Client) -> str:
    return await make_bucket(ada)


async def a_run(client: Client, connection: str, statement: str, **more: Any) -> str:
    asked = {"connectionId": connection, "statement": statement, "waitMs": 20_000} | more
    return str((await client.ask(EXECUTE, input=asked))["executeQuery"]["run"]["id"])


def asked(run: str, bucket: str, **more: Any) -> dict[str, Any]:
    return {"id": run, "bucketId": bucket, "location": "a/b.csv", "format": "CSV"} | more


async def objects_of_files(services: Services) -> list[str]:
    return [one.key async for batch in services.objects.list("files") for one in batch]


async def nothing_is_left(ada: Client, services: Services, bucket: str) -> bool:
    half_written = list((services.settings.data_dir / "objects").rglob("*#*"))
    return (
        await ada.ask(BUCKET, id=bucket) == EMPTY
        and not await objects_of_files(services)
        and not half_written
        and services.result_files._slots.in_use == 0
    )


def owner_of(client: Client) -> OwnerId:
    assert client.user is not None
    return OwnerId(client.user.id)


def wanted(run: str, bucket: str, format: str = "parquet") -> ExportRequest:
    return ExportRequest(parse_id("run", run), parse_id("bucket", bucket), "a/b", format)


@pytest.mark.parametrize(
    ("format", "content_type"),
    [
        ("CSV", "text/csv; charset=utf-8; header=present"),
        ("JSONL", "application/jsonl"),
        ("PARQUET", "application/vnd.apache.parquet"),
        ("ARROW", "application/vnd.apache.arrow.stream"),
    ],
)
async def test_export_equals_download(
    ada: Client, connection: str, bucket: str, format: str, content_type: str
) -> None:
    run = await a_run(ada, connection, "SELECT i, i / 7.0 AS x FROM generate_series(1, 20000) i")
    made = await ada.ask(EXPORT, input=asked(run, bucket, format=format))
    file = made["exportQueryRun"]["file"]
    content = (await ada.http.get(file["downloadUrl"])).content
    link = (await ada.ask(LINK, id=run, format=format))["queryRun"]["downloadUrl"]
    assert content == (await ada.http.get(link)).content
    assert file["bucket"] == {"id": bucket, "fileCount": 1, "totalSize": file["size"]}
    assert (file["location"], file["status"]) == ("a/b.csv", "STORED")
    assert (file["size"], file["contentType"]) == (str(len(content)), content_type)
    assert file["fingerprint"] == hashlib.sha256(content).hexdigest()


async def test_export_is_replicated_to_providers(
    ada: Client, admin: Client, connection: str, bucket: str, services: Services
) -> None:
    bsp = await make_bsp(admin, capacity="9")
    run = await a_run(ada, connection, "SELECT 1 AS a")  # in CSV six bytes
    for number, name in enumerate(("kept", "too much")):
        values = asked(run, bucket, location=name, desiredReplicas=1)
        answer = await ada.send(EXPORT, input=values)
        if number == 0:
            file = answer.data["exportQueryRun"]["file"]
            assert (file["size"], file["replicas"]) == ("6", [{"bsp": {"id": bsp}}])
    assert (answer.code, answer.errors[0]["extensions"]["field"]) == ("CONFLICT", "desiredReplicas")
    assert len(await objects_of_files(services)) == 1
    assert (await ada.ask(BUCKET, id=bucket))["bucket"]["totalSize"] == "6"


async def test_export_of_active_run_is_refused(
    ada: Client, connection: str, bucket: str, services: Services
) -> None:
    run = await a_run(ada, connection, "SELECT pg_sleep(60)", waitMs=0)
    answer = await ada.send(EXPORT, input=asked(run, bucket))
    assert answer.code == "CONFLICT"
    assert "cancel" in answer.errors[0]["extensions"]["hint"]
    assert await nothing_is_left(ada, services, bucket)
    await ada.ask(CANCEL, id=run)
    assert (await ada.send(EXPORT, input=asked(run, bucket))).code != "CONFLICT"


async def test_export_without_result_is_refused(
    ada: Client, connection: str, bucket: str, services: Services
) -> None:
    stored = "SELECT repeat('x', 100) FROM generate_series(1, 1000)"  # too large to be in its row
    removed = await a_run(ada, connection, stored)
    await services.results.remove(owner_of(ada), parse_id("run", removed))
    for run in (removed, f"run_{new_id().hex}"):
        answer = await ada.send(EXPORT, input=asked(run, bucket))
        assert answer.code == "NOT_FOUND"
    assert await nothing_is_left(ada, services, bucket)


@pytest.mark.parametrize(
    ("wrong", "code", "field"),
    [
        ({"location": "../x"}, "BAD_USER_INPUT", "location"),
        ({"location": "taken"}, "CONFLICT", "location"),
        ({"desiredReplicas": -1}, "BAD_USER_INPUT", "desiredReplicas"),
        ({"bucketId": f"bucket_{new_id().hex}"}, "NOT_FOUND", "bucketId"),
        ({"bucketId": "task_1"}, "BAD_USER_INPUT", "bucketId"),
        ({"id": "task_1", "bucketId": "task_1"}, "BAD_USER_INPUT", "id"),
        ({"idempotencyKey": ""}, "BAD_USER_INPUT", "idempotencyKey"),
    ],
)
async def test_export_input_is_validated(
    ada: Client,
    connection: str,
    bucket: str,
    services: Services,
    wrong: dict[str, Any],
    code: str,
    field: str,
) -> None:
    run = await a_run(ada, connection, "SELECT 1")
    await ada.ask(EXPORT, input=asked(run, bucket, location="taken"))
    answer = await ada.send(EXPORT, input=asked(run, bucket) | wrong)
    assert (answer.code, answer.errors[0]["extensions"]["field"]) == (code, field)
    assert len(await objects_of_files(services)) == 1
    assert (await ada.ask(BUCKET, id=bucket))["bucket"]["fileCount"] == 1


async def test_export_retry_returns_first_file_without_run(
    ada: Client, connection: str, bucket: str
) -> None:
    run = await a_run(ada, connection, "SELECT 1")
    values = asked(run, bucket, idempotencyKey="once")
    first = (await ada.ask(EXPORT, input=values))["exportQueryRun"]["file"]["id"]
    await ada.ask("mutation($id: ID!) { deleteQueryRun(input: {id: $id}) { __typename } }", id=run)
    assert (await ada.ask(EXPORT, input=values))["exportQueryRun"]["file"]["id"] == first
    for other in ({"location": "c.csv"}, {"format": "JSONL"}, {"id": f"run_{new_id().hex}"}):
        assert (await ada.send(EXPORT, input=values | other)).code == "CONFLICT"
    assert (await ada.ask(BUCKET, id=bucket))["bucket"]["fileCount"] == 1


async def test_export_leaves_nothing_when_store_fails(
    ada: Client, connection: str, bucket: str, services: Services
) -> None:
    run = await a_run(ada, connection, "SELECT 1")
    in_the_way = services.settings.data_dir / "objects" / "files"
    in_the_way.write_text("a file where a folder is to be")
    assert (await ada.send(EXPORT, input=asked(run, bucket))).code == "UNAVAILABLE"
    in_the_way.unlink()
    assert await nothing_is_left(ada, services, bucket)
    assert (await ada.send(EXPORT, input=asked(run, bucket))).code == "OK"


class Stuck(ObjectStore):
    """A folder that accepts the first piece and then fails."""

    def __init__(self, folder: ObjectStore) -> None:
        super().__init__(folder._open_store, folder.kind, folder=folder._folder)
        self.reached = asyncio.Event()

    async def put(self, key: str, chunks: AsyncIterator[bytes], **options: Any) -> None:
        async def first() -> AsyncIterator[bytes]:
            yield await anext(chunks)
            self.reached.set()
            await asyncio.Event().wait()

        await super().put(key, first(), **options)


async def test_export_leaves_nothing_when_cancelled(
    ada: Client, connection: str, bucket: str, services: Services
) -> None:
    """Simulates a closed socket, and an operation timeout."""
    run = await a_run(ada, connection, NOISE)
    stuck = Stuck(services.objects)
    exporting = asyncio.ensure_future(
        export_result(
            dataclasses.replace(services, objects=stuck), owner_of(ada), wanted(run, bucket, "csv")
        )
    )
    await stuck.reached.wait()
    assert services.result_files._slots.in_use == 1
    exporting.cancel()
    await asyncio.wait({exporting})
    assert exporting.cancelled()
    assert await nothing_is_left(ada, services, bucket)


async def test_export_of_large_result_works_on_every_store(
    ada: Client,
    connection: str,
    bucket: str,
    services: Services,
    objects: ObjectStore,
    tmp_path: Path,
) -> None:
    run = await a_run(ada, connection, NOISE)
    elsewhere = dataclasses.replace(services, objects=objects)
    file = await export_result(elsewhere, owner_of(ada), wanted(run, bucket))
    assert file.size > 5 * 1024 * 1024
    content = [piece async for piece in read_bytes(objects, file, start=0, end=file.size)]
    (tmp_path / "a.parquet").write_bytes(b"".join(content))
    found = duckdb.read_parquet(str(tmp_path / "a.parquet")).fetchall()
    assert {len(row[0]) for row in found} == {32_000}
    assert len(set(found)) == 400


async def test_export_as_parquet_without_extra_is_refused(
    ada: Client, connection: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await a_run(ada, connection, "SELECT 1")
    for name in [name for name in sys.modules if name.split(".")[0] == "arro3"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "arro3", None)
    answer = await ada.send(EXPORT, input=asked(run, bucket, format="PARQUET"))
    assert answer.code == "UNAVAILABLE"
    assert "howdah[parquet]" in answer.errors[0]["extensions"]["hint"]


async def test_export_of_run_without_rows_is_refused(
    ada: Client, connection: str, bucket: str
) -> None:
    for statement in ("DO ''", "SELECT 1 / 0 FROM nowhere"):
        run = await a_run(ada, connection, statement)
        answer = await ada.send(EXPORT, input=asked(run, bucket))
        assert (answer.code, answer.errors[0]["extensions"]["field"]) == ("BAD_USER_INPUT", "id")
    assert await ada.ask(BUCKET, id=bucket) == EMPTY

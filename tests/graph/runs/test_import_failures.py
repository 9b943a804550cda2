"""Imports that are refused, fail or are stopped: they say why, and nothing is loaded."""

import asyncio
import shutil
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from db.errors import Conflict, NotFound
from db.kit.base import OwnerId, new_id
from db.objects.store import ObjectStore
from db.runs import RunRow
from db.services import Services
from db.workbench.copy.import_request import ImportRequest, encode_source
from db.workbench.copy.import_sources import ImportSources
from graph.kit.ids import parse_id
from tests.fixtures.audit import events_of
from tests.fixtures.clients import Client
from tests.fixtures.factories import create_access_token
from tests.fixtures.imports import BIG, CANCEL, CREATE, IMPORT, PROGRESS, SAVE, Shop
from tests.fixtures.patience import patience

DELETE = "mutation($id: ID!) { deleteFile(input: {id: $id}) { deletedFileId } }"
REPLACE = "mutation($input: ReplaceFileInput!) { replaceFile(input: $input) { uploadUrl } }"
BAD_LINES: list[tuple[bytes | str, str, int, str | None, str]] = [
    ("id,name\n1,a\nx,b\n", "CSV", 3, "id", "invalid input syntax"),
    ("id,name\n1,a\n1,b\n", "CSV", 3, None, "duplicate key"),
    ("id,name\n1,a\n2\n", "CSV", 3, None, "missing data"),
    (b"id,name\n1,a\n2,\xff\n", "CSV", 3, None, "invalid byte sequence"),
    ('id,name\n1,"a\nb', "CSV", 3, None, "unterminated CSV quoted field"),
    ("id\n1\n\\.\n2\n", "CSV", 3, None, "ends the data"),
    ('{"id": 1}\n{"id": "x"}\n', "JSONL", 2, "id", "invalid input syntax"),
    ('{"id": 1}\n{"id": 2, "nam": 3}\n', "JSONL", 2, "nam", "nam"),
    ('{"id": 1}\n{"id": 2\n', "JSONL", 2, None, "not a JSON object"),
    ('{"id": 1}\n\n{"id": 2}\n', "JSONL", 2, None, "empty"),
    ("[1]\n[2, 3]\n", "JSONL", 2, None, "2 values instead of 1"),
    (b'{"id": 1}\n{"id": 2, "id": "\xff"}\n', "JSONL", 2, None, "invalid byte sequence"),
]


async def test_import_names_first_bad_line_and_loads_nothing(shop: Shop) -> None:
    for content, format, line, column, part in BAD_LINES:
        run = await shop.load(content, format=format)
        error = run["error"]
        found = run["state"], error["sourceLine"], error["sourceColumn"]
        assert found == ("FAILED", line, column), run
        assert part in error["message"]
    assert await shop.rows("SELECT count(*)::int FROM goods") == [[0]]


async def test_import_into_unknown_columns_fails(shop: Shop) -> None:
    injected = 'goods" FROM STDIN; DROP TABLE goods; --'
    for content, table, sqlstate in (
        ("id,nome\n1,a\n", "goods", "42703"),
        ("id,name\n1,a\n", "bads", "42P01"),
        ("id,name\n1,a\n", injected, "42P01"),
    ):
        run = await shop.load(content, tableName=table)
        assert (run["state"], run["error"]["sqlstate"]) == ("FAILED", sqlstate)
        assert run["error"]["hint"]
    assert await shop.rows("SELECT count(*)::int FROM goods") == [[0]]


REFUSED: list[tuple[bytes | str, dict[str, Any], str]] = [
    ("", {}, "fileId"),
    ("id,id\n1,2\n", {}, "fileId"),
    (b"\xff,id\n1,2\n", {}, "fileId"),
    ("id,name\n1,2\n", {"columns": ["id"]}, "columns"),
    ("id\n1\n", {"columns": ["id", "id"]}, "columns"),
    ("id\n1\n", {"columns": []}, "columns"),
    ("id\n1\n", {"delimiter": "ab"}, "delimiter"),
    ("id\n1\n", {"delimiter": '"'}, "delimiter"),
    ("id\n1\n", {"nullText": "\n"}, "nullText"),
    ("id\n1\n", {"schemaName": ""}, "schemaName"),
    ("id\n1\n", {"format": "JSONL"}, "fileId"),
    ("{}\n", {"format": "JSONL"}, "fileId"),
    ("[1]\n", {"format": "JSONL", "nullText": ""}, "nullText"),
    ("[1]\n", {"format": "JSONL", "columns": ["id", "name"]}, "columns"),
]


async def test_import_is_refused_before_it_begins(shop: Shop) -> None:
    for content, options, field in REFUSED:
        assert await shop.refused(content, **options) == ("BAD_USER_INPUT", field), content


async def test_import_reads_only_files_that_the_viewer_may_read(shop: Shop, bob: Client) -> None:
    theirs = await shop.file(b"id\n1\n", bob)
    for file, code in ((theirs, "FORBIDDEN"), (f"file_{new_id().hex}", "NOT_FOUND")):
        answer = await shop.client.send(IMPORT, input=shop.asked(file))
        assert (answer.code, answer.errors[0]["extensions"]["field"]) == (code, "fileId")
    pending = {"bucketId": shop.bucket, "location": "later", "size": "5"}
    made = (await shop.client.ask(CREATE, input=pending))["createFile"]["file"]["id"]
    assert (await shop.client.send(IMPORT, input=shop.asked(made))).code == "CONFLICT"


async def test_import_over_read_only_connection_is_forbidden(shop: Shop) -> None:
    await shop.client.ask(SAVE, input={"id": shop.connection, "readOnly": True})
    assert await shop.refused("id\n1\n") == ("FORBIDDEN", "connectionId")


async def test_import_retry_returns_first_run(shop: Shop) -> None:
    file = await shop.file(b"id\n1\n")
    asked = shop.asked(file, idempotencyKey="once")
    first = (await shop.client.ask(IMPORT, input=asked))["importRows"]
    await shop.client.ask(DELETE, id=file)
    again = (await shop.client.ask(IMPORT, input=asked))["importRows"]
    assert (first["replayed"], again["replayed"]) == (False, True)
    assert again["run"] == first["run"]
    assert (await shop.client.send(IMPORT, input=asked | {"header": False})).code == "CONFLICT"
    assert await shop.rows("SELECT id FROM goods") == [[1]]


async def test_import_is_audited_with_its_file(shop: Shop) -> None:
    file = await shop.file(b"id\n1\n")
    await shop.client.ask(IMPORT, input=shop.asked(file))
    event = (await events_of(shop.client, kinds=["QUERY_RUN"]))[-1]
    assert event["details"]["importedFileId"] == file
    assert event["details"]["statement"].startswith('COPY "public"."goods" ("id") FROM STDIN')


class Paused(ObjectStore):
    """A folder that waits after the first piece of an object."""

    def __init__(self, folder: ObjectStore) -> None:
        super().__init__(folder._open_store, folder.kind, folder=folder._folder)
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()

    async def read(self, key: str, *, start: int, end: int) -> AsyncGenerator[bytes]:
        async for piece in super().read(key, start=start, end=end):
            yield piece
            self.reached.set()
            await self.go_on.wait()


@pytest.fixture
def paused(services: Services) -> Paused:
    store = Paused(services.objects)
    sources = ImportSources(services.database, store)
    services.runner._executor._open_source = sources.open
    return store


async def test_import_that_is_cancelled_loads_nothing(shop: Shop, paused: Paused) -> None:
    run = await shop.load(BIG, waitMs=0)
    await paused.reached.wait()
    async with patience():
        while (
            progress := (await shop.client.ask(PROGRESS, id=run["id"]))["queryRun"]["progress"]
        ) is None:
            pass
    assert (progress["command"], progress["unit"]) == ("COPY FROM", "BYTES")
    assert progress["total"] == len(BIG)
    assert 0 < progress["percent"] < 50
    answer = await shop.client.ask(CANCEL, id=run["id"])
    assert answer["cancelQuery"] == {"outcome": "CANCELLED", "connectionUsable": True}
    assert await shop.rows("SELECT count(*)::int FROM goods") == [[0]]


async def test_import_that_times_out_loads_nothing(shop: Shop, paused: Paused) -> None:
    run = await shop.load(BIG, timeoutMs=1_000)
    assert run["state"] == "TIMED_OUT"
    assert await shop.rows("SELECT count(*)::int FROM goods") == [[0]]


async def test_import_from_lost_store_loads_nothing(
    shop: Shop, paused: Paused, services: Services
) -> None:
    run = await shop.load(BIG, waitMs=0)
    await paused.reached.wait()
    shutil.rmtree(services.settings.data_dir / "objects" / "files")
    paused.go_on.set()
    assert shop.client.user is not None
    ended = await services.runner.wait_until_finished(
        OwnerId(shop.client.user.id), parse_id("run", run["id"]), within_s=20
    )
    error = ended.parsed_error
    assert ended.state == "FAILED"
    assert error is not None
    assert "no longer exists. Nothing was loaded." in error.message
    assert ended.connection_usable is True
    assert await shop.rows("SELECT count(*)::int FROM goods") == [[0]]


async def test_import_fails_at_once_without_object_store(shop: Shop, services: Services) -> None:
    file = await shop.file(b"id\n1\n")
    folder = services.settings.data_dir / "objects" / "files"
    shutil.rmtree(folder)
    folder.write_text("a file where a folder is to be")
    answer = await shop.client.send(IMPORT, input=shop.asked(file))
    assert answer.code in {"UNAVAILABLE", "NOT_FOUND"}


async def test_import_is_refused_to_tokens_that_only_read(shop: Shop) -> None:
    file = await shop.file(b"id\n1\n")
    for scopes in (("WORKBENCH_READ_ONLY", "STORAGE_READ"), ("WORKBENCH_WRITE",)):
        made = await create_access_token(shop.client, *scopes)
        reader = Client(shop.client._app, shop.client.http, shop.client.user, made["token"])
        assert (await reader.send(IMPORT, input=shop.asked(file))).code == "FORBIDDEN"
    assert await shop.rows("SELECT count(*)::int FROM goods") == [[0]]


async def test_import_of_file_that_has_changed_is_refused(shop: Shop, services: Services) -> None:
    file = await shop.file(b"id\n1\n")
    assert shop.client.user is not None
    owner = OwnerId(shop.client.user.id)
    request = ImportRequest("public", "goods", parse_id("file", file), "csv")
    _, planned = await services.import_sources.plan(owner, request)
    run = cast("RunRow", SimpleNamespace(owner_id=owner, source=encode_source(planned)))
    made = await shop.client.ask(REPLACE, input={"id": file, "size": "5"})
    upload = made["replaceFile"]["uploadUrl"]
    assert (await shop.client.http.put(upload, content=b"id\n2\n")).is_success
    with pytest.raises(Conflict, match="was replaced"):
        await anext(services.import_sources.open(run))
    await shop.client.ask(DELETE, id=file)
    with pytest.raises(NotFound):
        await anext(services.import_sources.open(run))

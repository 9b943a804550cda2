"""Files of buckets are imported into tables, all rows or none."""

import asyncio
import shutil
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from db.kit.base import OwnerId, new_id
from db.objects.store import ObjectStore
from db.services import Services
from db.workbench.copy.import_sources import ImportSources
from graph.kit.ids import parse_id
from tests.fixtures.audit import events_of
from tests.fixtures.clients import Client
from tests.fixtures.factories import create_access_token, make_bucket, make_connection_to
from tests.fixtures.session_desk import open_session
from tests.fixtures.targets import Target

RUN = """run { id state rowsAffected command statement
  error { message sqlstate hint sourceLine sourceColumn context } }"""
IMPORT = f"mutation($input: ImportRowsInput!) {{ importRows(input: $input) {{ {RUN} replayed }} }}"
EXECUTE = f"""mutation($input: ExecuteQueryInput!) {{ executeQuery(input: $input) {{ {RUN} }} }}"""
ROWS = "query($id: ID!) { queryRun(id: $id) { rows(first: 1000) { rows } state } }"
EXPORT = (
    """mutation($input: ExportQueryRunInput!) { exportQueryRun(input: $input) { file { id } } }"""
)
CREATE = """mutation($input: CreateFileInput!) {
  createFile(input: $input) { file { id } uploadUrl } }"""
SAVE = "mutation($input: SaveConnectionInput!) { saveConnection(input: $input) { __typename } }"
PROGRESS = "query($id: ID!) { queryRun(id: $id) { progress { command unit total percent } } }"
RAW = "query($id: ID!) { queryRun(id: $id) { columns { name type } downloadUrl(format: RAW) } }"
CANCEL = "mutation($id: ID!) { cancelQuery(input: {id: $id}) { outcome connectionUsable } }"

TABLE = """CREATE TABLE goods (id int PRIMARY KEY, name text, price numeric, parts int[],
  tags jsonb, sold bool, weight float8, made timestamptz, photo bytea,
  "Odd ""name" text DEFAULT 'none')"""
VALUES = r"""INSERT INTO goods VALUES
  (1, 'Käse', 1.50, '{1,2}', '{"a": [1, "x\\y"]}', true, 'NaN', '2026-01-02 03:04:05.678+00',
    '\x00ff', 'x'),
  (2, '', NULL, '{}', 'null', false, '-Infinity', NULL, NULL, NULL),
  (3, E'two\nlines\t"quoted", \\N \\.', -0.001, NULL, '[]', NULL, 1e-300, 'infinity', '', '=1+1'),
  (4, '\.', 12345678901234567890.123, '{NULL,-5}', '"t"', true, 0, '0001-01-01 BC', '\x5c', '')"""


class Shop:
    """Ada's tables, files and imports."""

    def __init__(self, client: Client, connection: str, bucket: str) -> None:
        self.client = client
        self.connection = connection
        self.bucket = bucket

    async def run(self, statement: str) -> Any:
        values = {"connectionId": self.connection, "statement": statement, "waitMs": 20_000}
        run = (await self.client.ask(EXECUTE, input=values))["executeQuery"]["run"]
        assert run["error"] is None, run
        return run

    async def rows(self, statement: str) -> Any:
        run = await self.run(statement)
        return (await self.client.ask(ROWS, id=run["id"]))["queryRun"]["rows"]["rows"]

    async def file(self, content: bytes, client: Client | None = None) -> str:
        bucket = self.bucket if client is None else await make_bucket(client)
        client = client or self.client
        values = {"bucketId": bucket, "location": new_id().hex, "size": str(len(content))}
        made = (await client.ask(CREATE, input=values))["createFile"]
        assert (await client.http.put(made["uploadUrl"], content=content)).is_success
        return str(made["file"]["id"])

    def asked(self, file: str, **more: Any) -> dict[str, Any]:
        return {
            "connectionId": self.connection,
            "schemaName": "public",
            "tableName": "goods",
            "fileId": file,
            "format": "CSV",
            "waitMs": 20_000,
        } | more

    async def load(self, content: bytes | str, **more: Any) -> Any:
        file = await self.file(content.encode() if isinstance(content, str) else content)
        return (await self.client.ask(IMPORT, input=self.asked(file, **more)))["importRows"]["run"]

    async def refused(self, content: bytes | str, **more: Any) -> tuple[str, str | None]:
        file = await self.file(content.encode() if isinstance(content, str) else content)
        answer = await self.client.send(IMPORT, input=self.asked(file, **more))
        assert answer.errors[0]["extensions"]["hint"]
        return answer.code, answer.errors[0]["extensions"].get("field")


@pytest.fixture
async def shop(ada: Client, target: Target) -> Shop:
    shop = Shop(ada, await make_connection_to(ada, target), await make_bucket(ada))
    await shop.run("DROP TABLE IF EXISTS goods")
    await shop.run(TABLE)
    return shop


@pytest.mark.parametrize("format", ["CSV", "JSONL", "PARQUET"])
async def test_import_of_exported_rows_gives_the_same_rows(shop: Shop, format: str) -> None:
    await shop.run(VALUES)
    everything = "SELECT *, goods::text FROM goods ORDER BY id"
    before = await shop.rows(everything)
    made = await shop.run("SELECT * FROM goods ORDER BY id")
    values = {"id": made["id"], "bucketId": shop.bucket, "location": "goods", "format": format}
    exported = await shop.client.ask(EXPORT, input=values | {"spreadsheetSafe": False})
    file = exported["exportQueryRun"]["file"]["id"]
    await shop.run("DELETE FROM goods")
    asked = shop.asked(file, format=format)
    run = (await shop.client.ask(IMPORT, input=asked))["importRows"]["run"]
    assert (run["state"], run["error"]) == ("SUCCEEDED", None)
    assert (run["command"], run["rowsAffected"]) == ("COPY", 4)
    assert await shop.rows(everything) == before


async def test_import_of_csv_takes_its_options(shop: Shop) -> None:
    run = await shop.load(
        "\ufeff7;NULL;x\r\n8;'';\"\\.\"\r\n",
        columns=["id", "price", "name"],
        header=False,
        delimiter=";",
        nullText="NULL",
    )
    assert run["error"]["sourceLine"] == 2
    assert run["error"]["sourceColumn"] == "price"
    run = await shop.load(
        '\ufeffnumber\tcalled\n7\t\\N\n8\t"a\n\\.\nb"\n',
        columns=["id", "name"],
        delimiter="\t",
        nullText="\\N",
    )
    assert run["statement"] == (
        'COPY "public"."goods" ("id", "name") FROM STDIN WITH (FORMAT csv, HEADER true, '
        "DELIMITER '\t', NULL E'\\\\N', ENCODING 'UTF8')"
    )
    found = await shop.rows('SELECT id, name, "Odd ""name" FROM goods ORDER BY id')
    assert found == [[7, None, "none"], [8, "a\n\\.\nb", "none"]]


async def test_import_of_json_lines_takes_objects_and_arrays(shop: Shop) -> None:
    lines = '{"id": 1, "tags": {"a": [1.0, "\\u00e4\\\\"]}, "Odd \\"name": "\\t"}\r\n{"id": 2}\n\n'
    run = await shop.load(lines, format="JSONL")
    assert (run["error"], run["rowsAffected"]) == (None, 2)
    arrays = await shop.load(
        '[3, "a", 1e2]\n[4, null, 5]', format="JSONL", columns=["id", "name", "price"]
    )
    assert (arrays["error"], arrays["rowsAffected"]) == (None, 2)
    chosen = await shop.load(
        '{"id": 5, "more": 1, "name": "b"}', format="JSONL", columns=["name", "id"]
    )
    assert chosen["error"] is None
    found = await shop.rows('SELECT id, name, price, tags, "Odd ""name" FROM goods ORDER BY id')
    assert found == [
        [1, None, None, '{"a": [1.0, "ä\\\\"]}', "\t"],
        [2, None, None, None, None],
        [3, "a", "100", None, "none"],
        [4, None, "5", None, "none"],
        [5, "b", None, None, "none"],
    ]


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
    await shop.client.ask(
        "mutation($id: ID!) { deleteFile(input: {id: $id}) { deletedFileId } }", id=file
    )
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


BIG = b"id,name\n" + b"".join(b"%d,%s\n" % (i, b"x" * 1000) for i in range(3_000))


@pytest.fixture
def paused(services: Services) -> Paused:
    store = Paused(services.objects)
    sources = ImportSources(services.database, store)
    services.runner._executor._open_source = sources.open
    return store


async def test_import_that_is_cancelled_loads_nothing(shop: Shop, paused: Paused) -> None:
    run = await shop.load(BIG, waitMs=0)
    await paused.reached.wait()
    async with asyncio.timeout(10):
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
    run = await shop.load(BIG, timeoutMs=300)
    assert paused.reached.is_set()
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


async def test_import_of_large_file_arrives_whole(shop: Shop) -> None:
    run = await shop.load(BIG)
    assert (run["error"], run["rowsAffected"]) == (None, 3_000)
    assert await shop.rows("SELECT count(*)::int, sum(length(name))::int FROM goods") == [
        [3_000, 3_000_000]
    ]


async def test_import_of_parquet_takes_its_types(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "goods.parquet"
    made = """SELECT i::int AS id, (i / 8)::decimal(20, 3) AS price,
        'a' || i || E'\\t\\\\N' AS name, {'a': [i, NULL]} AS tags, i % 2 = 0 AS sold,
        CASE i WHEN 1 THEN 'nan' WHEN 2 THEN '-inf' ELSE '0.1' END::double AS weight,
        timestamptz '2026-01-02 03:04:05.678+00' AS made, '\\x00\\xFF\\x5C'::blob AS photo,
        i AS unknown FROM range(20000) t(i)"""
    duckdb.sql(made).write_parquet(str(path), row_group_size=5000)
    content = path.read_bytes()
    run = await shop.load(content, format="PARQUET")
    assert run["error"]["sqlstate"] == "42703"
    columns = ["sold", "id", "name", "price", "tags", "weight", "made", "photo"]
    run = await shop.load(content, format="PARQUET", columns=columns)
    assert (run["error"], run["rowsAffected"]) == (None, 20_000)
    found = await shop.rows(
        "SELECT sold, id, name, price, tags, weight, made, photo FROM goods ORDER BY id LIMIT 3"
    )
    time, photo = "2026-01-02 03:04:05.678+00", "\\x00ff5c"
    assert found == [
        [True, 0, "a0\t\\N", "0.000", '{"a": [0, null]}', 0.1, time, photo],
        [False, 1, "a1\t\\N", "0.125", '{"a": [1, null]}', "NaN", time, photo],
        [True, 2, "a2\t\\N", "0.250", '{"a": [2, null]}', "-Infinity", time, photo],
    ]
    again = await shop.load(content, format="PARQUET", columns=["name", "id"])
    assert (again["error"]["sourceLine"], again["error"]["sqlstate"]) == (1, "23505")
    assert await shop.refused(content, format="PARQUET", columns=["ids"]) == (
        "BAD_USER_INPUT",
        "columns",
    )
    for broken in (content[:-9], b"PAR1" + content[4:-8] + b"\xff\xff\xff\x7fPAR1", b"id\n1\n"):
        assert await shop.refused(broken, format="PARQUET") == ("BAD_USER_INPUT", "fileId")


async def test_copied_bytes_are_downloaded_exported_and_imported_again(shop: Shop) -> None:
    await shop.run(VALUES)
    everything = "SELECT *, goods::text FROM goods ORDER BY id"
    before = await shop.rows(everything)
    run = await shop.run("COPY goods TO STDOUT WITH (FORMAT csv, HEADER)")
    assert (run["command"], run["rowsAffected"]) == ("COPY", 4)
    found = (await shop.client.ask(RAW, id=run["id"]))["queryRun"]
    raw = await shop.client.http.get(found["downloadUrl"])
    assert raw.text.startswith('id,name,price,parts,tags,sold,weight,made,photo,"Odd ""name"\n1,')
    assert found["columns"] == [{"name": "copy", "type": "text"}]
    values = {"id": run["id"], "bucketId": shop.bucket, "location": "goods", "format": "RAW"}
    file = (await shop.client.ask(EXPORT, input=values))["exportQueryRun"]["file"]["id"]
    await shop.run("DELETE FROM goods")
    loaded = (await shop.client.ask(IMPORT, input=shop.asked(file)))["importRows"]["run"]
    assert (loaded["error"], loaded["rowsAffected"]) == (None, 4)
    assert await shop.rows(everything) == before
    rows = await shop.run("SELECT 1")
    assert (await shop.client.ask(RAW, id=rows["id"]))["queryRun"]["downloadUrl"] is None
    answer = await shop.client.send(EXPORT, input=values | {"id": rows["id"], "location": "b"})
    assert (answer.code, answer.errors[0]["extensions"]["field"]) == ("BAD_USER_INPUT", "format")


async def test_import_of_exported_end_mark_gives_the_same_rows(shop: Shop) -> None:
    """A line of one value, which PostgreSQL took as the end of the data."""
    run = await shop.run(r"VALUES ('a'), ('\.'), ('b')")
    values = {"id": run["id"], "bucketId": shop.bucket, "location": "marks", "format": "CSV"}
    file = (await shop.client.ask(EXPORT, input=values))["exportQueryRun"]["file"]["id"]
    await shop.run("ALTER TABLE goods DROP COLUMN id")
    asked = shop.asked(file, columns=["name"])
    assert (await shop.client.ask(IMPORT, input=asked))["importRows"]["run"]["rowsAffected"] == 3


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


async def test_import_in_session_is_part_of_its_transaction(shop: Shop) -> None:
    session = await open_session(shop.client, shop.connection, autocommit=False)
    await session.do("CREATE TEMP TABLE passing (id int, name text)")
    target = {"connectionId": None, "sessionId": session.id}
    run = await shop.load(
        "id,name\n1,a\n2,b\n", tableName="passing", schemaName="pg_temp", **target
    )
    assert (run["error"], run["rowsAffected"]) == (None, 2)
    assert (await shop.load("id\n1\n", **target))["rowsAffected"] == 1
    assert await shop.rows("SELECT count(*)::int FROM goods") == [[0]]
    await session.do("ROLLBACK")
    assert await shop.rows("SELECT count(*)::int FROM goods") == [[0]]
    failed = await shop.load("id\nx\n", **target)
    assert failed["error"]["sourceLine"] == 2
    await session.do("ROLLBACK")
    assert (await shop.load("id\n3\n", **target))["error"] is None
    await session.do("COMMIT")
    assert await shop.rows("SELECT id FROM goods") == [[3]]
    reading = (await open_session(shop.client, shop.connection, readOnly=True)).id
    assert await shop.refused("id\n1\n", **target | {"sessionId": reading}) == (
        "FORBIDDEN",
        "sessionId",
    )
    for ids in ({"connectionId": None}, {"sessionId": session.id}):
        assert await shop.refused("id\n1\n", **ids) == ("BAD_USER_INPUT", "connectionId")

"""Files of buckets are imported into tables, and copied bytes are downloaded."""

from pathlib import Path

import duckdb
import pytest

from tests.fixtures.imports import BIG, EXPORT, IMPORT, RAW, VALUES, Shop
from tests.fixtures.session_desk import open_session


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

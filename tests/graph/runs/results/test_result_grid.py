"""What a grid does with a result: sort, filter, page, summarise, and open a large value."""

import asyncio
import hashlib
from typing import Any, cast

import pytest

from tests.fixtures.clients import Client, Response
from tests.fixtures.factories import make_connection_to
from tests.fixtures.targets import Target

EXECUTE = """mutation($input: ExecuteQueryInput!) {
  executeQuery(input: $input) { run { id state } } }"""
ROWS = """query($id: ID!, $first: Int! = 10, $offset: Int! = 0, $orderBy: [RowOrder!],
    $filter: [RowCondition!], $max: Int) {
  queryRun(id: $id) { rows(first: $first, offset: $offset, orderBy: $orderBy, filter: $filter,
      maxCellBytes: $max) {
    offset hasMore totalCount positions rows cutCells { row column sizeBytes } } } }"""
CELL = """query($id: ID!, $row: Int!, $column: Int!, $max: Int! = 1048576) {
  queryRun(id: $id) { cell(row: $row, column: $column, maxBytes: $max) {
    text sizeBytes isComplete downloadUrl } } }"""
STATS = """query($id: ID!, $name: String!) { queryRun(id: $id) { columnStats(name: $name) {
  rowCount nullCount distinctCount distinctIsExact minimum maximum sum average shortest longest
  topValues { value count } countError } } }"""
DELETE = "mutation($id: ID!) { deleteQueryRun(input: {id: $id}) { deletedQueryRunId } }"
CANCEL = "mutation($id: ID!) { cancelQuery(input: {id: $id}) { outcome } }"
PEOPLE = """SELECT * FROM (VALUES ('Ada', 36), ('bob', NULL), ('Cy', 9), (NULL, 36), ('Bo', 10))
    t (name, age)"""


@pytest.fixture
async def connection(ada: Client, target: Target) -> str:
    return await make_connection_to(ada, target)


async def a_run(client: Client, connection: str, statement: str, wait_ms: int = 30_000) -> str:
    asked = {"connectionId": connection, "statement": statement, "waitMs": wait_ms}
    return str((await client.ask(EXECUTE, input=asked))["executeQuery"]["run"]["id"])


async def page(client: Client, run: str, **asked: Any) -> Any:
    return (await client.ask(ROWS, id=run, **asked))["queryRun"]["rows"]


def error_of(answer: Response) -> Any:
    [error] = answer.errors
    return error["extensions"] | {"message": error["message"]}


async def test_rows_are_sorted_filtered_and_paged(ada: Client, connection: str) -> None:
    run = await a_run(ada, connection, PEOPLE)
    found = await page(
        ada, run, first=2, orderBy=[{"column": "age", "direction": "DESC"}, {"column": "name"}]
    )
    assert found == {
        "offset": 0,
        "hasMore": True,
        "totalCount": 5,
        "positions": [1, 0],
        "rows": [["bob", None], ["Ada", 36]],
        "cutCells": [],
    }
    found = await page(
        ada,
        run,
        first=1,
        offset=1,
        orderBy=[{"column": "age", "nulls": "FIRST"}],
        filter=[{"column": "name", "comparison": "CONTAINS", "value": "B", "ignoreCase": True}],
    )
    assert (found["rows"], found["totalCount"], found["hasMore"]) == ([["Bo", 10]], 2, False)
    found = await page(ada, run, filter=[{"column": "name", "comparison": "IS_NULL"}])
    assert (found["rows"], found["positions"]) == ([[None, 36]], [3])
    found = await page(ada, run, first=2, offset=3)
    assert (found["positions"], found["totalCount"], found["hasMore"]) == ([3, 4], 5, False)


async def test_wrong_columns_values_and_too_many_conditions_are_explained(
    ada: Client, connection: str
) -> None:
    run = await a_run(ada, connection, "SELECT 1 AS a, 2 AS a, 'x' AS \"b c\"")

    async def refused(**asked: Any) -> Any:
        error = error_of(await ada.send(ROWS, id=run, **asked))
        assert error["code"] == "BAD_USER_INPUT"
        return error

    error = await refused(orderBy=[{"column": "age"}])
    assert "`a`, `a_2`, `b c`" in error["hint"]
    assert error["field"] == "orderBy"
    condition = {"column": "a_2", "comparison": "LESS", "value": "two"}
    assert "`int4`" in (await refused(filter=[condition]))["message"]
    assert "value" in (await refused(filter=[{"column": "a", "comparison": "EQUALS"}]))["message"]
    wrong = {"column": "a", "comparison": "IS_NULL", "value": "1"}
    assert "Omit" in (await refused(filter=[wrong]))["hint"]
    many = [{"column": "a", "comparison": "IS_NULL"}] * 100
    assert "at most 20" in (await refused(filter=many))["hint"]
    assert "at most 16" in (await refused(orderBy=[{"column": "a"}] * 17))["hint"]
    long = {"column": "b c", "comparison": "EQUALS", "value": "x" * 10_001}
    assert "10000" in (await refused(filter=[long]))["hint"]
    assert error_of(await ada.send(STATS, id=run, name="z"))["field"] == "name"
    found = await page(ada, run, orderBy=[{"column": "a_2"}])
    assert found["rows"] == [[1, 2, "x"]]


async def test_columns_tell_the_names_that_sort_and_filter_them(
    ada: Client, connection: str
) -> None:
    run = await a_run(ada, connection, "SELECT 3 AS a, 4 AS a, 5 AS a_2, 6 AS a")
    query = "query($id: ID!) { queryRun(id: $id) { columns { name uniqueName } } }"
    columns = (await ada.ask(query, id=run))["queryRun"]["columns"]
    assert [column["name"] for column in columns] == ["a", "a", "a_2", "a"]
    names = [column["uniqueName"] for column in columns]
    assert len(set(names)) == len(names)
    for name, value in zip(names, "3456", strict=True):
        condition = {"column": name, "comparison": "EQUALS", "value": value}
        assert (await page(ada, run, filter=[condition]))["rows"] == [[3, 4, 5, 6]]


async def test_run_that_has_not_ended_and_one_of_another_user(
    ada: Client, bob: Client, connection: str
) -> None:
    run = await a_run(ada, connection, "SELECT pg_sleep(60)", wait_ms=0)
    early: tuple[tuple[str, dict[str, Any]], ...]
    early = (ROWS, {"orderBy": [{"column": "a"}]}), (STATS, {"name": "a"})
    for document, values in early:
        error = error_of(await ada.send(document, id=run, **values))
        assert (error["code"], "queryStatus" in error["hint"]) == ("CONFLICT", True)
    await ada.ask(CANCEL, id=run)
    run = await a_run(ada, connection, PEOPLE)
    for document, asked in (
        (ROWS, {"orderBy": [{"column": "age"}]}),
        (STATS, {"name": "age"}),
        (CELL, {"row": 0, "column": 0}),
    ):
        assert await bob.ask(document, id=run, **cast("Any", asked)) == {"queryRun": None}
    await ada.ask(DELETE, id=run)
    assert await ada.ask(ROWS, id=run, orderBy=[{"column": "age"}]) == {"queryRun": None}


async def test_statistics_of_a_column(ada: Client, connection: str) -> None:
    run = await a_run(ada, connection, PEOPLE)
    found = (await ada.ask(STATS, id=run, name="age"))["queryRun"]["columnStats"]
    assert found == {
        "rowCount": 5,
        "nullCount": 1,
        "distinctCount": 3,
        "distinctIsExact": True,
        "minimum": "9",
        "maximum": "36",
        "sum": "91",
        "average": "22.75",
        "shortest": None,
        "longest": None,
        "topValues": [
            {"value": "36", "count": 2},
            {"value": "9", "count": 1},
            {"value": "10", "count": 1},
        ],
        "countError": 0,
    }
    found = (await ada.ask(STATS, id=run, name="name"))["queryRun"]["columnStats"]
    assert (found["minimum"], found["shortest"], found["longest"]) == ("Ada", 2, 3)
    empty = await a_run(ada, connection, "SELECT 1 AS a WHERE false")
    found = (await ada.ask(STATS, id=empty, name="a"))["queryRun"]["columnStats"]
    assert (found["rowCount"], found["minimum"], found["topValues"]) == (0, None, [])
    assert (await page(ada, empty, orderBy=[{"column": "a"}]))["totalCount"] == 0


async def test_large_cells_are_cut_in_pages_and_whole_one_at_a_time(
    ada: Client, connection: str
) -> None:
    """A page shows the rows beside one with 20 MB, which is downloaded whole."""
    size = 20_000_000
    statement = f"""SELECT i, repeat('é', CASE i WHEN 3 THEN {size // 2} ELSE 60 END),
        '\\x00ff'::bytea, NULL FROM generate_series(1, 3) i"""  # noqa: S608 - of this module
    run = await a_run(ada, connection, statement)
    for more in ({}, {"orderBy": [{"column": "i", "direction": "DESC"}]}):
        found = await page(ada, run, max=101, **more)
        assert [row[1] for row in found["rows"]] == ["é" * 50] * 3
        assert found["cutCells"] == [
            {"row": row, "column": 1, "sizeBytes": size if row == 2 else 120}
            for row in found["positions"]
        ]
    whole = (await ada.ask(CELL, id=run, row=2, column=1, max=1_001))["queryRun"]["cell"]
    assert (whole["text"], whole["sizeBytes"], whole["isComplete"]) == ("é" * 500, size, False)
    answer = await ada.http.get(whole["downloadUrl"])
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    expected = hashlib.sha256("é".encode() * (size // 2)).digest()
    assert hashlib.sha256(answer.content).digest() == expected

    cell = (await ada.ask(CELL, id=run, row=0, column=2))["queryRun"]["cell"]
    assert (cell["text"], cell["isComplete"]) == ("\\x00ff", True)
    answer = await ada.http.get(cell["downloadUrl"])
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.content == b"\x00\xff"
    cell = (await ada.ask(CELL, id=run, row=0, column=3))["queryRun"]["cell"]
    assert cell == {"text": None, "sizeBytes": None, "isComplete": True, "downloadUrl": None}
    assert (await ada.ask(CELL, id=run, row=1, column=0))["queryRun"]["cell"]["text"] == "2"
    for place in ({"row": 3, "column": 0}, {"row": 0, "column": 4}, {"row": -1, "column": 0}):
        error = error_of(await ada.send(CELL, id=run, **place))
        assert (error["code"], "from 0 to" in error["hint"]) == ("BAD_USER_INPUT", True)

    await ada.ask(DELETE, id=run)
    assert (await ada.http.get(whole["downloadUrl"])).status_code == 404
    forged = whole["downloadUrl"].replace("/cells/2/1", "/cells/0/1")
    assert (await ada.http.get(forged)).status_code == 403


async def test_orders_of_many_requests_at_once_are_answered(ada: Client, connection: str) -> None:
    run = await a_run(
        ada, connection, "SELECT i, md5(i::text) AS h FROM generate_series(1, 20000) i"
    )
    pages = await asyncio.gather(
        *(page(ada, run, offset=offset, orderBy=[{"column": "h"}]) for offset in range(0, 80, 10))
    )
    hashes = [row[1] for one in pages for row in one["rows"]]
    everything = sorted(hashlib.md5(str(i).encode()).hexdigest() for i in range(1, 20_001))  # noqa: S324
    assert hashes == everything[:80]


async def test_floats_are_numbers_in_rows_and_files(ada: Client, connection: str) -> None:
    """They are stored as text."""
    run = await a_run(
        ada,
        connection,
        "SELECT n::float8 AS f FROM unnest(ARRAY['1e22', 'NaN', '-0', '0.1', '-Infinity', NULL])"
        " WITH ORDINALITY AS t (n, i) ORDER BY i",
    )
    rows = [[1e22], ["NaN"], [-0.0], [0.1], ["-Infinity"], [None]]
    found = await page(ada, run)
    assert repr(found["rows"]) == repr(rows)
    found = await page(ada, run, max=3)
    assert repr(found["rows"]) == repr([*rows[:4], ["-In"], [None]])
    assert [cell["row"] for cell in found["cutCells"]] == [4]
    found = await page(
        ada,
        run,
        orderBy=[{"column": "f"}],
        filter=[{"column": "f", "comparison": "LESS", "value": "1"}],
    )
    assert repr(found["rows"]) == repr([["-Infinity"], [-0.0], [0.1]])
    for format, cells in (
        ("JSONL", ["1e+22", '"NaN"', "-0.0", "0.1", '"-Infinity"', "null"]),
        ("CSV", ["1e+22", "NaN", "-0", "0.1", "-Infinity", ""]),
    ):
        asking = f"query($id: ID!) {{ queryRun(id: $id) {{ downloadUrl(format: {format}) }} }}"
        url = (await ada.ask(asking, id=run))["queryRun"]["downloadUrl"]
        lines = (await ada.http.get(url)).text.splitlines()
        expected = [f'{{"f":{cell}}}' for cell in cells] if format == "JSONL" else ["f", *cells]
        assert lines == expected

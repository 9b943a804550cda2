"""COPY ... TO STDOUT gives a result that can be downloaded as the bytes that PostgreSQL sent."""

import contextlib
import hashlib

import pytest

from db.runs import RunRow, RunState, Truncated
from db.workbench.results.result_files import ResultFiles
from tests.fixtures.runs import Desk

SETUP = (
    "DROP TABLE IF EXISTS goods CASCADE",
    "CREATE TABLE goods (id int, name text)",
    "INSERT INTO goods VALUES (1, E'Käse\t'), (2, NULL), (3, E'two\nlines, \"quoted\"')",
)
TEXT = '1\tKäse\\t\n2\t\\N\n3\ttwo\\nlines, "quoted"\n'.encode()
CSV = 'id,name\n1,Käse\t\n2,\n3,"two\nlines, ""quoted"""\n'.encode()


@pytest.fixture
async def goods(desk: Desk) -> Desk:
    for statement in SETUP:
        assert (await desk.run(statement)).error is None
    return desk


async def raw(desk: Desk, run: RunRow) -> bytes:
    stream = ResultFiles(desk.server.results).stream(run, "raw")
    async with contextlib.aclosing(stream) as pieces:
        return b"".join([piece async for piece in pieces])


def sqlstate_of(run: RunRow) -> str | None:
    return run.parsed_error.sqlstate if run.parsed_error else None


async def is_usable(desk: Desk, run: RunRow) -> None:
    assert run.connection_usable is not False
    assert await desk.rows(await desk.run("SELECT 1")) == [[1]]


@pytest.mark.parametrize(
    ("options", "sent", "lines"),
    [("", TEXT, 3), ("WITH (FORMAT csv, HEADER)", CSV, 4), ("(ENCODING 'UTF8')", TEXT, 3)],
)
@pytest.mark.parametrize("read_only", [False, True])
async def test_copy_out_keeps_each_line(
    goods: Desk, options: str, sent: bytes, lines: int, *, read_only: bool
) -> None:
    run = await goods.run(f"COPY goods TO STDOUT {options}", read_only=read_only)
    assert (run.state, run.error, run.command) == (RunState.SUCCEEDED, None, "COPY")
    assert (run.rows_affected, run.row_count, run.truncated) == (3, lines, None)
    assert [(one.name, one.type) for one in run.parsed_columns or ()] == [("copy", "text")]
    assert (await goods.rows(run))[-1] == [sent.decode().split("\n3")[1].join(("3", ""))[:-1]]
    assert await raw(goods, run) == sent
    await is_usable(goods, run)


async def test_copy_out_of_other_bytes_is_bytea(goods: Desk) -> None:
    run = await goods.run("COPY goods TO STDOUT (FORMAT binary)")
    assert (run.rows_affected, run.parsed_columns and run.parsed_columns[0].type) == (3, "bytea")
    sent = await raw(goods, run)
    assert sent.startswith(b"PGCOPY\n\xff\r\n\0")
    assert sent.endswith(b"\xff\xff")
    assert "Käse".encode() in sent
    latin = await goods.run("COPY goods TO STDOUT WITH (ENCODING 'LATIN1')")
    assert await raw(goods, latin) == TEXT.decode().encode("latin-1")


async def test_copy_out_of_nothing_has_columns(goods: Desk) -> None:
    run = await goods.run("COPY (SELECT 1 WHERE false) TO STDOUT")
    assert (run.state, run.rows_affected, run.row_count) == (RunState.SUCCEEDED, 0, 0)
    assert (run.columns is not None, await raw(goods, run)) == (True, b"")


async def test_copy_out_tells_what_it_changed(goods: Desk) -> None:
    run = await goods.run("COPY (DELETE FROM goods WHERE id < 3 RETURNING id) TO STDOUT")
    assert (run.state, run.rows_affected) == (RunState.SUCCEEDED, 2)
    assert await goods.rows(run) == [["1"], ["2"]]
    assert await goods.rows(await goods.run("SELECT id FROM goods")) == [[3]]
    refused = await goods.run("COPY (DELETE FROM goods RETURNING id) TO STDOUT", read_only=True)
    assert sqlstate_of(refused) == "25006"
    await is_usable(goods, refused)


@pytest.mark.parametrize(
    ("limit", "reason", "kept"),
    [({"max_rows": 2}, "MAX_ROWS", 2), ({"max_bytes": 9}, "MAX_BYTES", 1)],
)
async def test_copy_out_beyond_limit_is_truncated_and_committed(
    goods: Desk, limit: dict[str, int], reason: str, kept: int
) -> None:
    delete = "COPY (DELETE FROM goods RETURNING id + 100) TO STDOUT"
    run = await goods.run(delete, **limit)
    assert (run.state, run.error, run.rows_affected) == (RunState.SUCCEEDED, None, 3)
    assert (run.row_count, run.parsed_truncated) == (kept, Truncated(reason, *limit.values()))
    assert await goods.rows(await goods.run("SELECT count(*)::int FROM goods")) == [[0]]
    read = await goods.run("COPY (SELECT generate_series(1, 10000000)) TO STDOUT", **limit)
    assert (read.state, read.command) == (RunState.SUCCEEDED, "COPY")
    assert read.parsed_truncated == Truncated(reason, *limit.values())
    assert await goods.rows(read) == [[str(number + 1)] for number in range(read.row_count)]
    await is_usable(goods, read)


async def test_copy_out_that_fails_midway_says_why(goods: Desk) -> None:
    run = await goods.run("COPY (SELECT 1 / (3 - i) FROM generate_series(1, 3) i) TO STDOUT")
    assert (run.state, sqlstate_of(run)) == (RunState.FAILED, "22012")
    await is_usable(goods, run)


async def test_copy_out_is_cancelled(goods: Desk) -> None:
    run = await goods.start(
        "COPY (SELECT i, pg_sleep(0.2) FROM generate_series(1, 999) i) TO STDOUT"
    )
    await goods.until_backend(run)
    assert (await goods.runner.cancel(goods.owner, run.id)).run.state == RunState.CANCELLED
    await is_usable(goods, await goods.now(run))


async def test_copy_out_of_many_rows_is_complete(goods: Desk) -> None:
    run = await goods.run(
        "COPY (SELECT i, sha256(i::text::bytea)::text FROM generate_series(1, 200000) i) TO STDOUT"
    )
    assert (run.row_count, run.rows_affected, run.truncated) == (200_000, 200_000, None)
    sent, last = await raw(goods, run), hashlib.sha256(b"200000").hexdigest()
    assert sent.count(b"\n") == 200_000
    assert sent.splitlines()[-1] == b"200000\t\\\\x" + last.encode()


@pytest.mark.parametrize(
    "statement",
    [
        "COPY goods FROM STDIN",
        "/* so */ copy goods (id) from stdin with csv",
        "COPY goods FROM STDOUT",
    ],
)
async def test_copy_in_without_data_is_refused_before_it_is_sent(
    goods: Desk, statement: str
) -> None:
    run = await goods.run(statement)
    error = run.parsed_error
    assert error is not None
    assert (run.state, error.sqlstate, "importRows" in (error.hint or "")) == (
        RunState.FAILED,
        "0A000",
        True,
    )
    await is_usable(goods, run)

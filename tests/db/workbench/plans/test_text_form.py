"""Lines of the text form with numbers that differ between executions, or of other servers."""

import json
import re
from collections.abc import AsyncIterator

import asyncpg
import pytest

from db.workbench.plans.text_form import plan_text
from tests.fixtures.targets import Target

SETUP = """
CREATE TEMPORARY TABLE rooms (id int PRIMARY KEY);
INSERT INTO rooms SELECT generate_series(1, 9);
CREATE TEMPORARY TABLE stays (id int, room int CONSTRAINT has_room REFERENCES rooms, note text);
CREATE FUNCTION pg_temp.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER noted BEFORE INSERT ON stays FOR EACH ROW EXECUTE FUNCTION pg_temp.nothing();
SET track_io_timing = on;
SET work_mem = '64kB';
SET jit = off
"""
STATEMENTS = [
    "SELECT *, repeat('x', 50) FROM generate_series(1, 9000) AS n ORDER BY n DESC",
    "INSERT INTO stays SELECT n, n, 'new' FROM generate_series(1, 9) AS n",
    "SELECT count(*) FROM rooms",
]


@pytest.fixture
async def connection(target: Target) -> AsyncIterator[asyncpg.Connection]:
    async with target._as_superuser() as opened:
        await opened.execute(SETUP)
        yield opened


@pytest.mark.parametrize("statement", STATEMENTS)
async def test_text_has_the_lines_of_postgresql(
    connection: asyncpg.Connection, statement: str
) -> None:
    texts = []
    for form in ("JSON", "JSON", "TEXT"):  # the first one warms the caches
        options = f"ANALYZE, VERBOSE, BUFFERS, WAL, SETTINGS, FORMAT {form}"
        rows = await connection.fetch(f"EXPLAIN ({options}) {statement}")
        texts.append("\n".join(row[0] for row in rows))
    made, answered = plan_text(json.loads(texts[1])), texts[2]
    assert masked(made) == masked(answered)
    expected = {0: ("Buffers: temp read=", "I/O Timings: temp"), 1: ("Trigger noted: time=",)}
    for line in expected.get(STATEMENTS.index(statement), ("Buffers: local hit=",)):
        assert line in made


def masked(text: str) -> list[str]:
    text = re.sub(r"( (read|dirtied|written)=\d+)+", " N", text.replace("temp read", "temp_read"))
    return re.sub(r"\d+(\.\d+)?", "N", text).splitlines()


def test_text_shows_jit_and_io_of_every_version() -> None:
    timing = {"Generation": {"Deform": 0.1, "Total": 1.5}, "Inlining": 0.0, "Total": 1.5}
    options = {"Inlining": False, "Deforming": True}
    plan = {
        "Node Type": "Foreign Scan",
        "Operation": "Update",
        "Relation Name": "far",
        "Alias": "far",
        "I/O Read Time": 0.25,
        "I/O Write Time": 0.0,
        "Remote SQL": "UPDATE far",
        "Plans": [],
    }
    jit = {"Functions": 2, "Options": options, "Timing": timing}
    triggers = [
        {
            "Trigger Name": "RI_1",
            "Constraint Name": "has",
            "Relation": table,
            "Time": 1.5,
            "Calls": 2,
        }
        for table in ("one", "two")
    ]
    text = plan_text([{"Plan": plan, "Query Identifier": -7, "Triggers": triggers, "JIT": jit}])
    assert text.splitlines() == [
        "Foreign Update on far",
        "  I/O Timings: shared/local read=0.250",
        "  Remote SQL: UPDATE far",
        "Query Identifier: -7",
        "Trigger RI_1 for constraint has on one: time=1.500 calls=2",
        "Trigger RI_1 for constraint has on two: time=1.500 calls=2",
        "JIT:",
        "  Functions: 2",
        "  Options: Inlining false, Deforming true",
        "  Timing: Generation 1.500 ms (Deform 0.100 ms), Inlining 0.000 ms, Total 1.500 ms",
    ]

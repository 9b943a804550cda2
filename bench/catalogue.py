"""What the catalogue of a large database costs beside the queries on the system catalogue alone.

make bench-catalogue                  about a minute; let nothing else run meanwhile
make bench-catalogue ARGS="--quick"   small, a smoke test that does not check the goals

Each ratio is of interleaved rounds with the same rows by libpq alone, which are written as JSON.
"""

import json
import statistics
import time
from collections.abc import Awaitable, Callable

import psycopg

from bench.desk import at_a_desk, machine
from bench.short_runs import (
    BARE_SIDEBAR,
    FULL,
    QUICK,
    SIDEBAR,
    Report,
    Size,
    run_once,
    times_of_bare,
)
from bench.verdict import judge

SCHEMAS = 5
COLUMNS = 10
TABLES = """DO $$ BEGIN FOR s IN 1..{schemas} LOOP
  EXECUTE format('CREATE SCHEMA many_%s', s);
  FOR t IN 1..{tables} LOOP
    EXECUTE format('CREATE TABLE many_%s.table_%s ({columns})', s, t);
  END LOOP;
END LOOP; END $$"""
SNAPSHOT = """mutation($id: ID!) { refreshCatalogue(input: {connectionId: $id}) {
  connection { search(text: "table_1", first: 1) { name } } } }"""
KEPT = """query($id: ID!) { connection(id: $id) { search(text: "table_1", first: 1) { name } } }"""
BARE_SNAPSHOT = (
    "SELECT oid, nspname, obj_description(oid, 'pg_namespace') FROM pg_namespace",
    """SELECT c.oid, nspname, relname, relkind, description
       FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace
       LEFT JOIN pg_description
         ON objoid = c.oid AND classoid = 'pg_class'::regclass AND objsubid = 0
       WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
       ORDER BY nspname COLLATE "C", relname COLLATE "C" """,
    """SELECT attrelid, attname, format_type(atttypid, atttypmod), attnotnull, description
       FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = attrelid
       LEFT JOIN pg_description
         ON objoid = attrelid AND classoid = 'pg_class'::regclass AND objsubid = attnum
       WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND attnum > 0 AND NOT attisdropped
       ORDER BY attrelid, attnum""",
    """SELECT p.oid, nspname, proname, prokind, pg_get_function_arguments(p.oid),
         pg_get_function_result(p.oid), description
       FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = pronamespace
       LEFT JOIN pg_description ON objoid = p.oid AND classoid = 'pg_proc'::regclass
       ORDER BY nspname COLLATE "C", proname COLLATE "C" """,
    """SELECT t.oid, nspname, typname, typtype, description
       FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = typnamespace
       LEFT JOIN pg_description ON objoid = t.oid AND classoid = 'pg_type'::regclass
       ORDER BY nspname COLLATE "C", typname COLLATE "C" """,
    "SELECT enumtypid, enumlabel FROM pg_enum ORDER BY enumtypid, enumsortorder",
    "SELECT word, catcode FROM pg_get_keywords()",
)


def main() -> None:
    judge(__doc__, bench, FULL, QUICK)


async def bench(size: Size) -> list[str]:
    """Returns the measurements that missed their goal."""
    report = Report()
    count = SCHEMAS * size.tables_of_schema
    async with at_a_desk() as desk:
        print(f"{machine(desk.target)}\n")
        columns = ", ".join(f"column_{number} int" for number in range(COLUMNS))
        await run_once(
            desk,
            TABLES.format(schemas=SCHEMAS, tables=size.tables_of_schema, columns=columns),
        )

        async def sidebar() -> None:
            await desk.ask(SIDEBAR, id=desk.connection_id)

        async def snapshot() -> None:
            found = await desk.ask(SNAPSHOT, id=desk.connection_id)
            assert found["refreshCatalogue"]["connection"]["search"]

        async def kept() -> None:
            await desk.ask(KEPT, id=desk.connection_id)

        joined = await times_of_bare(desk, size, sidebar, bare(with_comment("description")))
        print(f"{'  of a query that joins the comments':44}{joined:10.1f}")
        query = with_comment("obj_description(c.oid, 'pg_class')")
        ratio = await times_of_bare(desk, size, sidebar, bare(query))
        report.at_most(f"sidebar of {count:,} tables", ratio, 1.3, "of psql's query")
        report.at_most("  alone", await milliseconds(sidebar, size), 150, "ms")
        ratio = await times_of_bare(desk, size, snapshot, bare(*BARE_SNAPSHOT))
        report.at_most(f"catalogue of {count:,} tables", ratio, 1.3, "of the queries")
        report.at_most("  alone", await milliseconds(snapshot, size), 2_000, "ms")
        print(f"{'  kept':44}{await milliseconds(kept, size):10.1f} ms")
    return report.missed


def with_comment(comment: str) -> str:
    return BARE_SIDEBAR.format(comment=comment)


def bare(*queries: str) -> Callable[[psycopg.Connection], None]:
    def read(connection: psycopg.Connection) -> None:
        for query in queries:
            found = connection.execute(query.encode()).fetchall()
            json.dumps([[str(value) for value in row] for row in found])

    return read


async def milliseconds(work: Callable[[], Awaitable[None]], size: Size) -> float:
    """The median of the rounds."""
    times = []
    for _ in range(size.rounds):
        began = time.perf_counter()
        await work()
        times.append((time.perf_counter() - began) * 1_000)
    return statistics.median(times)


if __name__ == "__main__":
    main()

"""What a run costs beside the statement itself: short runs, many rows, the sidebar, a large cell.

make bench-short-runs                  about two minutes; let nothing else run meanwhile
make bench-short-runs ARGS="--quick"   small, a smoke test that does not check the goals

Each figure stands beside its goal. `bare` is the same work by libpq alone, measured in turn.
"""

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import asyncpg
import httpx
import psycopg

from bench.clients import Measured, measure, request
from bench.desk import Desk, at_a_desk, machine
from bench.memory import peak_of
from bench.verdict import judge
from db.postgres.embedded import use_running_server
from db.settings import Settings

MB = 1_000_000
EXECUTE = """mutation($input: ExecuteQueryInput!) { executeQuery(input: $input) {
  run { id state rowCount rows(first: 10) { rows } } } }"""
SIGN_UP = """mutation($email: String!) {
  signUp(input: {email: $email, password: "correct horse battery", name: "User"}) {
    session { accessToken } } }"""
SIDEBAR = """query($id: ID!) { connection(id: $id) { schemas(first: 100) { nodes {
  name tables(first: 1000) { nodes { name kind } } } } } }"""
BARE_SIDEBAR = """SELECT n.nspname, c.relname, c.relkind, {comment}
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace
  LEFT JOIN pg_description ON objoid = c.oid AND classoid = 'pg_class'::regclass AND objsubid = 0
  WHERE relkind IN ('r', 'v', 'm', 'f', 'p') AND nspname !~ '^pg_'
    AND nspname <> 'information_schema'
  ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C" """
ACCOUNTS = """CREATE TABLE pgbench_accounts AS SELECT i AS aid, 1 AS bid, 0 AS abalance,
  repeat(' ', 84)::char(84) AS filler FROM generate_series(1, {}) AS i"""
TABLES = """DO $$ BEGIN FOR s IN 1..3 LOOP
  EXECUTE format('CREATE SCHEMA many_%s', s);
  FOR t IN 1..{} LOOP EXECUTE format('CREATE TABLE many_%s.table_%s (id int)', s, t); END LOOP;
END LOOP; END $$"""
COMMITS = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
STATISTICS_S = 11.0
"""PostgreSQL counts the commits of an idle connection after ten seconds at the latest."""


class Size(NamedTuple):
    """Seconds of each load, and numbers of rounds, runs, users, rows, tables and bytes."""

    seconds: float
    rounds: int
    runs: int
    users: int
    rows: int
    tables_of_schema: int
    cell_mb: int


FULL = Size(5.0, rounds=5, runs=300, users=8, rows=1_000_000, tables_of_schema=1_000, cell_mb=100)
QUICK = Size(0.5, rounds=1, runs=10, users=2, rows=10_000, tables_of_schema=10, cell_mb=4)


class Report:
    """Prints each figure beside its goal, and collects the names of those that miss it."""

    def __init__(self) -> None:
        self.missed: list[str] = []

    def at_most(self, name: str, figure: float, goal: float, unit: str) -> None:
        self._print(name, figure, f"<= {goal:g}", unit, is_met=figure <= goal)

    def at_least(self, name: str, figure: float, goal: float, unit: str) -> None:
        self._print(name, figure, f">= {goal:g}", unit, is_met=figure >= goal)

    def _print(self, name: str, figure: float, goal: str, unit: str, *, is_met: bool) -> None:
        print(f"{name:44}{figure:10.1f} {unit:16}{goal}", flush=True)
        if not is_met:
            self.missed.append(name)


def main() -> None:
    judge(__doc__, bench, FULL, QUICK)


async def bench(size: Size) -> list[str]:
    """Returns the measurements that missed their goal."""
    report = Report()
    async with at_a_desk() as desk:
        print(f"{machine(desk.target)}\n")
        await run_once(desk, "CREATE TABLE short (a int)")
        await short_runs(desk, size, report)
        await commits(desk, size, report)
        await many_rows(desk, size, report)
        await sidebar(desk, size, report)
        await large_cell(desk, size, report)
    return report.missed


async def short_runs(desk: Desk, size: Size, report: Report) -> None:
    desks = [desk async for desk in users_of(desk, size.users)]
    for statement in ("SELECT 1", "INSERT INTO short VALUES (1)"):
        name = statement.split()[0]
        alone = await load([desk], statement, size)
        report.at_most(f"{name}, one client, p50", alone.p50_ms, 4, "ms")
        print(f"{'  CPU of the server':44}{alone.cpu_ms:10.2f} ms")
        many = await load(desks, statement, size)
        report.at_least(f"{name}, {size.users} users", many.per_s, 600, "runs a second")
        print(f"{'  CPU of the server':44}{many.cpu_ms:10.2f} ms")


async def load(desks: Sequence[Desk], statement: str, size: Size) -> Measured:
    requests = [
        request(desk.address, body_of(desk, statement), token=desk.token.removeprefix("Bearer "))
        for desk in desks
    ]
    times = desks[0].process.cpu_times

    def cpu_s() -> float:
        return times().user + times().system

    return await measure(
        desks[0].address,
        requests,
        connections=len(desks),
        warm_s=size.seconds / 5,
        seconds=size.seconds,
        cpu_s=cpu_s,
    )


def body_of(desk: Desk, statement: str) -> object:
    values = {"connectionId": desk.connection_id, "statement": statement, "waitMs": 30_000}
    return {"query": EXECUTE, "variables": {"input": values}}


async def users_of(desk: Desk, count: int) -> AsyncIterator[Desk]:
    """Other users of the same server, each with a connection of their own."""
    for number in range(count):
        answer = await desk.ask(SIGN_UP, email=f"user{number}@example.com")
        token = f"Bearer {answer['signUp']['session']['accessToken']}"
        http = httpx.AsyncClient(headers={"Authorization": token}, timeout=60)
        user = replace(desk, token=token, http=http)
        yield replace(user, connection_id=await user.connect())
        await http.aclose()


async def run_once(desk: Desk, statement: str) -> str:
    values = {"connectionId": desk.connection_id, "statement": statement, "waitMs": 30_000}
    run = (await desk.ask(EXECUTE, input=values))["executeQuery"]["run"]
    assert run["state"] in {"SUCCEEDED", "FAILED"}, run
    return str(run["id"])


async def commits(desk: Desk, size: Size, report: Report) -> None:
    """Without those that the server makes when nothing runs, in the same time."""
    settings = use_running_server(Settings(data_dir=desk.data_dir))
    assert settings.database_url is not None
    connection = await asyncpg.connect(settings.database_url)
    counts = []
    await asyncio.sleep(STATISTICS_S)  # until the commits before are counted
    try:
        for runs in (0, size.runs):
            before = await connection.fetchval(COMMITS)
            ends_at = time.monotonic() + STATISTICS_S + size.runs / 100
            for _ in range(runs):
                await run_once(desk, "SELECT 1")
            await asyncio.sleep(max(ends_at - time.monotonic(), STATISTICS_S))
            counts.append(await connection.fetchval(COMMITS) - before)
    finally:
        await connection.close()
    report.at_most("SELECT 1, commits", (counts[1] - counts[0]) / size.runs, 4, "a run")


async def many_rows(desk: Desk, size: Size, report: Report) -> None:
    await run_once(desk, ACCOUNTS.format(size.rows))

    made: list[str] = []

    async def ours() -> None:
        made.append(await run_once(desk, "SELECT * FROM pgbench_accounts"))

    def bare(connection: psycopg.Connection) -> None:
        assert connection.pgconn.exec_(b"SELECT * FROM pgbench_accounts").ntuples == size.rows

    ratio = await times_of_bare(desk, size, ours, bare)
    report.at_most(f"{size.rows:,} pgbench rows", ratio, 2, "of libpq's time")
    for run_id in made:
        await desk.delete(run_id)


async def sidebar(desk: Desk, size: Size, report: Report) -> None:
    await run_once(desk, TABLES.format(size.tables_of_schema))

    async def ours() -> None:
        nodes = (await desk.ask(SIDEBAR, id=desk.connection_id))["connection"]["schemas"]["nodes"]
        assert sum(len(node["tables"]["nodes"]) for node in nodes) > 3 * size.tables_of_schema

    def with_comment(comment: str) -> Callable[[psycopg.Connection], None]:
        query = BARE_SIDEBAR.format(comment=comment)

        def bare(connection: psycopg.Connection) -> None:
            found = connection.execute(query.encode()).fetchall()
            json.dumps([[str(value) for value in row] for row in found])

        return bare

    joined = await times_of_bare(desk, size, ours, with_comment("description"))
    print(f"{'  of a query that joins the comments':44}{joined:10.1f}")
    ratio = await times_of_bare(
        desk, size, ours, with_comment("obj_description(c.oid, 'pg_class')")
    )
    name = f"sidebar of {3 * size.tables_of_schema:,} tables"
    report.at_most(name, ratio, 1.3, "of psql's query")


async def times_of_bare(
    desk: Desk,
    size: Size,
    ours: Callable[[], Awaitable[None]],
    bare: Callable[[psycopg.Connection], None],
) -> float:
    """The median of the ratios of interleaved rounds; the first round warms up."""
    ratios = []
    with psycopg.connect(desk.target.url, autocommit=True) as connection:
        for _ in range(size.rounds + 1):
            began = time.perf_counter()
            await asyncio.to_thread(bare, connection)
            between = time.perf_counter()
            await ours()
            ratios.append((time.perf_counter() - between) / (between - began))
    print(f"{'  each':44}{'  '.join(f'{ratio:.2f}' for ratio in ratios[1:])}")
    return statistics.median(ratios[1:])


async def large_cell(desk: Desk, size: Size, report: Report) -> None:
    """The default of HOWDAH_RUN_MAX_ROW_BYTES ends the run with an error."""
    await asyncio.sleep(2)
    idle = desk.process.memory_info().rss
    async with peak_of(desk) as peak:
        await desk.delete(await run_once(desk, f"SELECT repeat('x', {size.cell_mb * MB})"))
    report.at_most(f"a cell of {size.cell_mb} MB adds", (max(peak) - idle) / MB, 150, "MB")
    await asyncio.sleep(2)
    kept = (desk.process.memory_info().rss - idle) / MB
    report.at_most("  and keeps", kept, 30, "MB")


if __name__ == "__main__":
    main()

"""Hermitage's anomalies between sessions: each level allows or forbids what PostgreSQL says.

The cases are those of github.com/ept/hermitage, driven through GraphQL: sessions without
autocommit, so that a transaction begins with the first statement of each.
"""

import asyncio
from typing import Any, NamedTuple, TypeAlias

import pytest

from tests.fixtures.clients import Client
from tests.fixtures.factories import make_connection_to
from tests.fixtures.session_desk import SessionDesk, open_session
from tests.fixtures.targets import Target
from tests.fixtures.workbench import until

RC, RR, S = "READ_COMMITTED", "REPEATABLE_READ", "SERIALIZABLE"
Step: TypeAlias = tuple[int, str, Any]
"""A session, what it does, and what comes of it: rows, None, an SQLSTATE, or BLOCKS.

GOES_ON is the end of the statement that blocked.
"""
BLOCKS, GOES_ON, COMMIT, ROLLBACK = "BLOCKS", "GOES ON", "COMMIT", "ROLLBACK"
FAILS = "40001"
ALL = "SELECT id, value FROM test ORDER BY id"
FIRST, SECOND = (f"SELECT id, value FROM test WHERE id = {key}" for key in (1, 2))  # noqa: S608
THIRDS = "SELECT id, value FROM test WHERE value % 3 = 0"


def put(key: int, value: int) -> str:
    return f"UPDATE test SET value = {value} WHERE id = {key}"  # noqa: S608


class Case(NamedTuple):
    name: str
    levels: tuple[str, ...]
    steps: list[Step]


CASES = [
    Case("G0 write cycles are prevented", (RC,), [
        (1, put(1, 11), None), (2, put(1, 12), BLOCKS), (1, put(2, 21), None), (1, COMMIT, None),
        (2, GOES_ON, None), (2, put(2, 22), None), (2, COMMIT, None),
        (3, ALL, [[1, 12], [2, 22]]),
    ]),
    Case("G1a aborted reads are prevented", (RC, RR, S), [
        (1, put(1, 101), None), (2, ALL, [[1, 10], [2, 20]]), (1, ROLLBACK, None),
        (2, ALL, [[1, 10], [2, 20]]), (2, COMMIT, None),
    ]),
    Case("G1b intermediate reads are prevented", (RC,), [
        (1, put(1, 101), None), (2, ALL, [[1, 10], [2, 20]]), (1, put(1, 11), None),
        (1, COMMIT, None), (2, ALL, [[1, 11], [2, 20]]), (2, COMMIT, None),
    ]),
    Case("G1c circular information flow is prevented", (RC, RR), [
        (1, put(1, 11), None), (2, put(2, 22), None), (1, SECOND, [[2, 20]]),
        (2, FIRST, [[1, 10]]), (1, COMMIT, None), (2, COMMIT, None),
    ]),
    Case("OTV observed transactions do not vanish", (RC,), [
        (1, put(1, 11), None), (1, put(2, 19), None), (2, put(1, 12), BLOCKS), (1, COMMIT, None),
        (2, GOES_ON, None), (3, FIRST, [[1, 11]]), (2, put(2, 18), None), (3, SECOND, [[2, 19]]),
        (2, COMMIT, None), (3, SECOND, [[2, 18]]), (3, FIRST, [[1, 12]]),
    ]),
    Case("PMP predicate-many-preceders are allowed", (RC,), [
        (1, THIRDS, []), (2, "INSERT INTO test VALUES (3, 30)", None), (2, COMMIT, None),
        (1, THIRDS, [[3, 30]]), (1, COMMIT, None),
    ]),
    Case("PMP predicate-many-preceders are prevented", (RR, S), [
        (1, THIRDS, []), (2, "INSERT INTO test VALUES (3, 30)", None), (2, COMMIT, None),
        (1, THIRDS, []), (1, COMMIT, None),
    ]),
    Case("PMP of writes is allowed", (RC,), [
        (1, "UPDATE test SET value = value + 10", None),
        (2, "DELETE FROM test WHERE value = 20", BLOCKS), (1, COMMIT, None), (2, GOES_ON, None),
        (2, "SELECT id, value FROM test WHERE value = 20", [[1, 20]]), (2, COMMIT, None),
    ]),
    Case("PMP of writes is prevented", (RR, S), [
        (1, "UPDATE test SET value = value + 10", None),
        (2, "DELETE FROM test WHERE value = 20", BLOCKS), (1, COMMIT, None),
        (2, GOES_ON, FAILS), (2, ROLLBACK, None),
    ]),
    Case("P4 lost updates are allowed", (RC,), [
        (1, FIRST, [[1, 10]]), (2, FIRST, [[1, 10]]), (1, put(1, 11), None),
        (2, put(1, 12), BLOCKS), (1, COMMIT, None), (2, GOES_ON, None), (2, COMMIT, None),
        (3, FIRST, [[1, 12]]),
    ]),
    Case("P4 lost updates are prevented", (RR, S), [
        (1, FIRST, [[1, 10]]), (2, FIRST, [[1, 10]]), (1, put(1, 11), None),
        (2, put(1, 12), BLOCKS), (1, COMMIT, None), (2, GOES_ON, FAILS), (2, ROLLBACK, None),
        (3, FIRST, [[1, 11]]),
    ]),
    Case("G-single read skew is allowed", (RC,), [
        (1, FIRST, [[1, 10]]), (2, ALL, [[1, 10], [2, 20]]), (2, put(1, 12), None),
        (2, put(2, 18), None), (2, COMMIT, None), (1, SECOND, [[2, 18]]), (1, COMMIT, None),
    ]),
    Case("G-single read skew is prevented", (RR, S), [
        (1, FIRST, [[1, 10]]), (2, ALL, [[1, 10], [2, 20]]), (2, put(1, 12), None),
        (2, put(2, 18), None), (2, COMMIT, None), (1, SECOND, [[2, 20]]), (1, COMMIT, None),
    ]),
    Case("G-single read skew with a write is prevented", (RR, S), [
        (1, FIRST, [[1, 10]]), (2, ALL, [[1, 10], [2, 20]]), (2, put(1, 12), None),
        (2, put(2, 18), None), (2, COMMIT, None),
        (1, "DELETE FROM test WHERE value = 20", FAILS), (1, ROLLBACK, None),
    ]),
    Case("G2-item write skew is allowed", (RC, RR), [
        (1, ALL, [[1, 10], [2, 20]]), (2, ALL, [[1, 10], [2, 20]]), (1, put(1, 11), None),
        (2, put(2, 21), None), (1, COMMIT, None), (2, COMMIT, None),
        (3, ALL, [[1, 11], [2, 21]]),
    ]),
    Case("G2-item write skew is prevented", (S,), [
        (1, ALL, [[1, 10], [2, 20]]), (2, ALL, [[1, 10], [2, 20]]), (1, put(1, 11), None),
        (2, put(2, 21), None), (1, COMMIT, None), (2, COMMIT, FAILS),
        (3, ALL, [[1, 11], [2, 20]]),
    ]),
    Case("G2 anti-dependency cycles are allowed", (RC, RR), [
        (1, THIRDS, []), (2, THIRDS, []), (1, "INSERT INTO test VALUES (3, 30)", None),
        (2, "INSERT INTO test VALUES (4, 42)", None), (1, COMMIT, None), (2, COMMIT, None),
        (3, THIRDS, [[3, 30], [4, 42]]),
    ]),
    Case("G2 anti-dependency cycles are prevented", (S,), [
        (1, THIRDS, []), (2, THIRDS, []), (1, "INSERT INTO test VALUES (3, 30)", None),
        (2, "INSERT INTO test VALUES (4, 42)", None), (1, COMMIT, None), (2, COMMIT, FAILS),
        (3, THIRDS, [[3, 30]]),
    ]),
]  # fmt: skip


class Player:
    """One of the sessions of a case."""

    def __init__(self, desk: SessionDesk, pid: int, target: Target) -> None:
        self._desk = desk
        self._waits = f"SELECT count(*) FROM pg_locks WHERE pid = {pid} AND NOT granted"  # noqa: S608
        self._target = target
        self._blocked: asyncio.Task[Any] | None = None

    async def play(self, act: str, outcome: Any) -> None:
        if outcome == BLOCKS:
            self._blocked = asyncio.create_task(self._desk.execute(act))
            await until(self._is_blocked)
            return
        if act == GOES_ON:
            assert self._blocked is not None
            run = await self._blocked
        elif act in {COMMIT, ROLLBACK}:
            ended = await (self._desk.commit() if act == COMMIT else self._desk.roll_back())
            run = ended["run"]
            assert ended["session"]["state"] == "IDLE"
        else:
            run = await self._desk.execute(act)
        error = run["error"] and run["error"]["sqlstate"]
        if isinstance(outcome, list):
            assert error is None, run
            assert run["rows"]["rows"] == outcome
        else:
            assert error == outcome, run

    async def _is_blocked(self) -> bool:
        return bool(await self._target.administer(self._waits))


@pytest.fixture
async def connection(ada: Client, target: Target) -> str:
    return await make_connection_to(ada, target)


@pytest.mark.parametrize("level", [RC, RR, S])
async def test_isolation_level_allows_and_forbids_anomalies(
    ada: Client, connection: str, target: Target, level: str
) -> None:
    """One test for each level, with sessions that are opened once."""
    setup = await open_session(ada, connection)
    desks = [
        await open_session(ada, connection, autocommit=False, isolationLevel=level)
        for _ in range(2)
    ]
    desks.append(await open_session(ada, connection))  # it reads what is committed
    players = [Player(desk, (await desk.now())["backendPid"], target) for desk in desks]
    played = [case for case in CASES if level in case.levels]
    assert len(played) >= 7
    for case in played:
        await setup.do("DROP TABLE IF EXISTS test")
        await setup.do("CREATE TABLE test (id int PRIMARY KEY, value int)")
        await setup.do("INSERT INTO test VALUES (1, 10), (2, 20)")
        for number, (player, act, outcome) in enumerate(case.steps):
            try:
                await players[player - 1].play(act, outcome)
            except AssertionError as error:
                error.add_note(f"{case.name}, {level}, step {number}: {act}")
                raise

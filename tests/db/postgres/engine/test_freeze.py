"""A database that stops answering: reads fail soon, changes wait, and all goes on after it."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import NamedTuple

import asyncpg
import pytest
from sqlalchemy import text

from db.errors import HowdahError
from db.postgres import pulse
from db.postgres.engine import Database, open_database
from db.postgres.pulse import Pulse
from db.postgres.route.connect import connect
from db.postgres.route.urls import parse_url
from db.postgres.statements import compile_change
from tests.fixtures import brokers
from tests.fixtures.brokers import Broker
from tests.fixtures.network import Link
from tests.fixtures.notes import ADD, BUMP, COUNT, CREATE, SLOW_ECHO, SUM, lent_by, read
from tests.fixtures.patience import PATIENCE_S, patience
from tests.fixtures.pgbouncer import PGBOUNCER, SERVER_CONNECTIONS, pgbouncer

pytestmark = pytest.mark.usefixtures("real_limits")


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Broker]:
    async with brokers.running("postgres", tmp_path_factory.mktemp("frozen") / "pg") as running:
        yield running


class Faulty(NamedTuple):
    """An open database, and a way to silence it."""

    database: Database
    silenced: Callable[[], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def cut(link: Link) -> Iterator[None]:
    link.cut()
    try:
        yield
    finally:
        link.mend()


@pytest.fixture(params=["direct", "pooled", "cut off"])
async def faulty(server: Broker, request: pytest.FixtureRequest) -> AsyncIterator[Faulty]:
    url = server.url
    silenced: Callable[[], contextlib.AbstractContextManager[None]] = partial(
        brokers.frozen, server
    )
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        if request.param == "pooled":
            if PGBOUNCER is None:
                pytest.skip("there is no pgbouncer on this machine")
            url = f"{await enter(pgbouncer(url, 'server_login_retry = 1'))}&pgbouncer=true"
        direct_url = server.url
        if request.param == "cut off":
            target = parse_url(url)
            link = await enter(Link.opened(target.host, target.port))
            url = direct_url = url.replace(target.place, f"127.0.0.1:{link.port}")
            silenced = partial(cut, link)
        opened = await open_database(url, direct_url=direct_url, pool_size=4)
        stack.push_async_callback(opened.close)
        yield Faulty(opened, silenced)


@pytest.fixture
def database(faulty: Faulty) -> Database:
    return faulty.database


@pytest.fixture
async def table(database: Database) -> AsyncIterator[None]:
    await database.transaction(lambda session: session.rows(CREATE))
    await database.write(lambda session: session.rows(ADD, id=1))
    yield
    await database.transaction(lambda session: session.rows(DROP))


async def outcome(work: Awaitable[object]) -> str:
    try:
        await work
    except HowdahError as error:
        return f"{error.code}: {error.message}"
    return "answered"


DROP = compile_change(text("DROP TABLE notes"))
SILENT = "UNAVAILABLE: The database does not answer."


async def test_frozen_database_fails_reads_and_keeps_changes(
    database: Database, faulty: Faulty, table: None
) -> None:
    assert await read(database, 1) == 1
    with faulty.silenced():
        change = asyncio.create_task(database.write(lambda session: session.rows(BUMP, id=1)))
        reads = [read(database, number) for number in range(20)]  # more than there are connections
        many = [database.read().rows(COUNT) for _ in range(20)]  # gathered
        async with patience():
            found = await asyncio.gather(*map(outcome, [*reads, *many]))
        assert set(found) == {SILENT}
        assert await outcome(read(database, 1)) == SILENT
        assert await outcome(database.ping()) == SILENT
        assert await outcome(database.write(lambda session: session.rows(BUMP, id=1))) == SILENT
        assert not change.done()
    async with patience():
        await change
        while await outcome(read(database, 1)) != "answered":  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.01)
    assert await database.read().value(SUM) == 1
    assert lent_by(database) == 0


@pytest.mark.parametrize("faulty", ["pooled"], indirect=True)
async def test_slow_statements_of_a_healthy_database_are_not_touched(database: Database) -> None:
    """They take longer than the silence after which it counts as frozen, and all connections."""
    async with patience():
        slow = [
            database.read().value(SLOW_ECHO, number=n, pause=3) for n in range(SERVER_CONNECTIONS)
        ]
        assert await asyncio.gather(*slow) == list(range(SERVER_CONNECTIONS))


class Waiting:
    """A database whose callers wait, and are not answered."""

    is_busy = True
    answered_at = 0.0

    def __init__(self) -> None:
        self.suspended, self.resumed = asyncio.Event(), asyncio.Event()

    def suspend(self) -> None:
        self.suspended.set()

    def resume(self) -> None:
        self.resumed.set()


async def test_pulse_asks_on_a_new_connection_if_the_old_one_stays_silent(server: Broker) -> None:
    """As after a failover: the former primary is gone without a word."""
    target = parse_url(server.url)
    database = Waiting()
    async with Link.opened(target.host, target.port) as link:
        link.cut()
        through_link = parse_url(server.url.replace(target.place, f"127.0.0.1:{link.port}"))
        watching = Pulse(
            database, lambda: connect(target if database.suspended.is_set() else through_link)
        )
        async with patience():
            await database.resumed.wait()
        await watching.close()


async def test_pulse_hears_a_server_whose_logins_take_longer_than_the_silence(
    server: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first login ends after the third has begun. The others never end."""
    monkeypatch.setattr(pulse, "TICK_S", 0.02)
    monkeypatch.setattr(pulse, "LONGEST_PROBE_S", PATIENCE_S)
    database, third = Waiting(), asyncio.Event()
    logins = itertools.count(1)

    async def log_in() -> asyncpg.Connection:
        number = next(logins)
        if number == 3:
            third.set()
        await (third if number == 1 else asyncio.Event()).wait()
        return await connect(parse_url(server.url))

    watching = Pulse(database, log_in)
    async with patience():
        await database.resumed.wait()
    await watching.close()


async def test_pulse_takes_the_lack_of_a_wanted_server_for_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The hosts of the URL are standbys, which is the error that callers should see."""
    monkeypatch.setattr(pulse, "TICK_S", 0.02)
    database = Waiting()

    async def refuse() -> asyncpg.Connection:
        if not database.suspended.is_set():
            await database.suspended.wait()
        raise asyncpg.TargetServerAttributeNotMatched("no primary")

    watching = Pulse(database, refuse)
    async with patience():
        await database.resumed.wait()
    await watching.close()

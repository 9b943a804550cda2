"""Errors that an operator sees when the database cannot be reached."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import asyncpg
import pytest

from db.errors import Unavailable
from db.postgres.engine import open_database
from db.postgres.route import connect as route
from db.postgres.route.connect import connect, connect_with_retry
from db.postgres.route.one_connection import open_connection
from db.postgres.route.urls import parse_url
from tests.fixtures import impostors
from tests.fixtures.cluster import Cluster
from tests.fixtures.connected import connected
from tests.fixtures.database import named
from tests.fixtures.patience import PATIENCE_S, patience
from tests.fixtures.ports import free_port

SECRET = "hush-hush/9"
LEFT = "SELECT 1 FROM pg_stat_activity WHERE usename = 'eve'"
LOGIN = f"eve:{quote(SECRET, safe='')}"


async def refusal(url: str, *, connect_ms: int = 1_000) -> Unavailable:
    with pytest.raises(Unavailable) as refused:
        await open_database(url, connect_ms=connect_ms)
    error = refused.value
    for text in (str(error), repr(error), error.message, error.hint):
        assert SECRET not in text
        assert quote(SECRET, safe="") not in text
    assert error.hint
    return error


@pytest.fixture
async def administrator(cluster: Cluster) -> AsyncIterator[asyncpg.Connection]:
    async with connected(cluster.url) as connection:
        yield connection


@pytest.fixture
async def eve(
    cluster: Cluster, administrator: asyncpg.Connection, request: pytest.FixtureRequest
) -> AsyncIterator[str]:
    """The URL of a user with the secret as password; the attributes are the test's."""
    await administrator.execute(
        f"CREATE ROLE eve LOGIN PASSWORD '{SECRET}' {getattr(request, 'param', '')}"
    )
    yield re.sub("//[^@]*@", f"//{LOGIN}@", cluster.url)
    async with patience():  # no attempt leaves a session behind
        while await administrator.fetchval(LEFT):  # noqa: ASYNC110 - of another process: no event
            await asyncio.sleep(0.01)
    await administrator.execute("DROP ROLE eve")


async def test_wrong_password_is_reported(eve: str) -> None:
    error = await refusal(eve.replace("9@", "8@"), connect_ms=10_000)
    assert "refused the user 'eve': the password is wrong" in error.message
    assert "%XX" in error.hint


async def test_unknown_user_is_reported(cluster: Cluster) -> None:
    error = await refusal(re.sub("//[^@]*@", f"//{LOGIN}@", cluster.url), connect_ms=10_000)
    assert "refused the user 'eve'" in error.message


async def test_unknown_database_is_reported(eve: str) -> None:
    error = await refusal(named(eve, "not-there"), connect_ms=10_000)
    assert "no database 'not-there'" in error.message
    assert "CREATE DATABASE" in error.hint


async def test_unknown_server_setting_is_reported(eve: str) -> None:
    error = await refusal(f"{eve}?options=-c%20nosuch%3D1", connect_ms=10_000)
    assert 'unrecognized configuration parameter "nosuch"' in error.message


@pytest.mark.parametrize("eve", ["CONNECTION LIMIT 0"], indirect=True)
async def test_connection_limit_is_reported(eve: str) -> None:
    error = await refusal(eve)
    assert "has reached its connection limit" in error.message
    assert "max_connections" in error.hint


@pytest.mark.parametrize("eve", ["VALID UNTIL '2020-01-01'"], indirect=True)
async def test_expired_password_is_reported(eve: str) -> None:
    assert "refused the user" in (await refusal(eve, connect_ms=10_000)).message


async def test_server_without_tls_is_reported(eve: str) -> None:
    error = await refusal(f"{eve}?sslmode=require", connect_ms=10_000)
    assert "refused TLS" in error.message
    assert "sslmode=disable" in error.hint


async def test_ignored_time_zone_is_reported(eve: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "_UTC", {"Europe/Berlin"})  # no pooler that is tested ignores it
    error = await refusal(eve, connect_ms=10_000)
    assert "ignores the time zone" in error.message
    assert "ALTER ROLE eve SET timezone = 'UTC'" in error.hint


async def test_unknown_host_is_reported() -> None:
    error = await refusal(f"postgresql://{LOGIN}@nowhere.invalid/d")
    assert "host 'nowhere.invalid' cannot be resolved" in error.message


@pytest.mark.parametrize("place", ["127.0.0.1:{}", "[::1]:{}"])
async def test_refused_port_is_reported(place: str) -> None:
    error = await refusal(f"postgresql://{LOGIN}@{place.format(free_port())}/d")
    assert "No PostgreSQL server responds at" in error.message


async def test_missing_socket_is_reported(tmp_path: Path) -> None:
    error = await refusal(f"postgresql://{LOGIN}@/d?host={tmp_path}")
    assert str(tmp_path) in error.message


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (impostors.silence, "did not answer in time"),
        (impostors.http, "is not PostgreSQL"),
        (impostors.hanging_up, "No PostgreSQL server responds"),
        (impostors.babble, "refused the connection"),
    ],
)
async def test_foreign_protocol_is_reported(answer: impostors.Answer, message: str) -> None:
    async with impostors.listening(answer) as port:
        error = await refusal(f"postgresql://{LOGIN}@127.0.0.1:{port}/d")
    assert message in error.message
    assert f"127.0.0.1:{port}" in error.message


@pytest.mark.parametrize("mode", ["verify-full", "verify-full&sslrootcert={root}"])
async def test_untrusted_certificate_is_reported(mode: str, tmp_path: Path) -> None:
    answer = impostors.with_a_certificate_for("elsewhere", tmp_path)
    root = tmp_path / "elsewhere.pem"
    async with impostors.listening(answer) as port:
        query = f"sslmode={mode.format(root=root)}"
        error = await refusal(f"postgresql://{LOGIN}@localhost:{port}/d?{query}", connect_ms=10_000)
    reason = "not valid for 'localhost'" if "root" in mode else "self-signed certificate"
    assert "TLS with the database" in error.message
    assert reason in error.message


async def test_connect_retries_temporary_failure(eve: str) -> None:
    target = parse_url(eve)
    refused = [ConnectionRefusedError(), asyncpg.CannotConnectNowError("starting up")]

    async def attempt() -> asyncpg.Connection:
        if refused:
            raise refused.pop()
        return await connect(target)

    connection = await connect_with_retry(attempt, target, asyncio.get_running_loop().time() + 60)
    await connection.close()


async def test_connect_retries_a_connection_that_ends_after_the_login(
    eve: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncpg raises this if it reads the server's last message at that moment."""
    target = replace(parse_url(eve), pooled=False)
    ends = [asyncpg.InternalClientError("got result for unknown protocol state 12")]
    execute = asyncpg.Connection.execute

    async def end(self: asyncpg.Connection, sql: str) -> str:
        if ends:
            raise ends.pop()
        return await execute(self, sql)

    monkeypatch.setattr(asyncpg.Connection, "execute", end)
    until = asyncio.get_running_loop().time() + 60
    connection = await connect_with_retry(lambda: connect(target), target, until)
    await connection.close()
    assert not ends


async def test_connect_does_not_retry_permanent_failure(eve: str) -> None:
    attempts = 0

    async def attempt() -> None:
        nonlocal attempts
        attempts += 1
        raise asyncpg.InvalidPasswordError("no")

    with pytest.raises(Unavailable):
        await connect_with_retry(attempt, parse_url(eve), asyncio.get_running_loop().time() + 60)
    assert attempts == 1


async def test_connect_reports_refusal_if_last_attempt_hangs(eve: str) -> None:
    refused = [asyncpg.TooManyConnectionsError("sorry, too many clients already")]

    async def attempt() -> None:
        if refused:
            raise refused.pop()
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Unavailable, match="has reached its connection limit"):
        await connect_with_retry(attempt, parse_url(eve), asyncio.get_running_loop().time() + 0.5)


@pytest.mark.parametrize("is_first", [True, False])
async def test_failures_of_all_hosts_are_reported(eve: str, *, is_first: bool) -> None:
    """The host that refuses the password tells the operator more than one that is down."""
    server, down = urlsplit(eve.replace("9@", "8@")), f"127.0.0.1:{free_port()}"
    login, _, up = server.netloc.rpartition("@")
    hosts = f"{up},{down}" if is_first else f"{down},{up}"
    error = await refusal(server._replace(netloc=f"{login}@{hosts}").geturl(), connect_ms=3_000)
    assert f"The database at {up} refused the user 'eve': the password is wrong." in error.message
    assert f"No PostgreSQL server responds at {down}." in error.message
    assert "HOWDAH_DATABASE_URL" in error.hint
    assert "listens there" in error.hint


async def test_jsonb_is_written_as_text_and_read_as_values(cluster: Cluster) -> None:
    connection = await connect(parse_url(cluster.url))
    try:
        values: list[Any] = [{"é": [1, None, 2.5, "\N{ELEPHANT}"]}, [], "text", None, 10**30]
        for value in values:
            given = json.dumps(value)
            assert await connection.fetchval("SELECT $1::jsonb", given) == value
    finally:
        await connection.close()


async def test_silent_host_is_passed_over_and_asked_last_from_then_on(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a machine that has vanished."""
    server = urlsplit(cluster.url)
    async with impostors.listening(impostors.silence) as port, patience():
        hosts = f"127.0.0.1:{port},{server.hostname}:{server.port}"
        netloc = f"{server.username}:{server.password}@{hosts}"
        url = parse_url(server._replace(netloc=netloc).geturl())
        monkeypatch.setattr("db.postgres.route.connect.HOST_S", 0.2)
        connection = None
        while connection is None:
            with contextlib.suppress(OSError):  # the other host was slow too
                connection = await connect(url)
        await connection.close()
        monkeypatch.setattr("db.postgres.route.connect.HOST_S", 2 * PATIENCE_S)
        connection = await connect(url)  # the silent host would take all the time
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()


async def test_one_connection_raises_our_errors_whether_it_is_refused_or_lost(
    cluster: Cluster, administrator: asyncpg.Connection
) -> None:
    """`howdah backup` and `howdah doctor` would else end with a traceback."""
    nowhere = f"postgresql://eve:{SECRET.replace('/', '')}@127.0.0.1:{free_port()}/howdah"
    with pytest.raises(Unavailable, match="No PostgreSQL server responds"):
        async with open_connection(nowhere, application_name="test"):
            pass

    async def lose() -> None:
        async with open_connection(cluster.url, application_name="test") as lost:
            end = "SELECT pg_terminate_backend($1, 60000)"
            await administrator.execute(end, lost.get_server_pid())
            await lost.execute("SELECT 1")

    with pytest.raises(Unavailable, match="dropped"):
        await lose()

"""PostgreSQL servers that send without end, claim huge messages, or say nothing."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import psycopg
import pytest
from psycopg._encodings import pg2pyenc

from db.errors import Unavailable
from db.runs import Backend, RunBackend, RunRow, RunState
from db.workbench.changes.change_request import ChangeRequest, RawChange, RowChangeKind
from db.workbench.connections import connector
from db.workbench.connections.bounds import bounded_connection, socket_gate
from db.workbench.connections.bounds.read_turns import TURN_S, ReadTurns
from db.workbench.connections.connection_errors import Unreachable
from db.workbench.connections.connector import Connector
from db.workbench.connections.libpq import command, fetch_value
from db.workbench.connections.targets.destinations import Destination
from db.workbench.connections.targets.network_policy import Targets
from db.workbench.execution.reading.protocol import MAX_LABEL_CHARS, MAX_MESSAGE_CHARS
from db.workbench.execution.request.run_request import RunRequest
from db.workbench.live.live_samples import LiveSamples
from db.workbench.live.values import NOTHING
from db.workbench.sessions import holder
from db.workbench.sessions.held_session import MAX_NOTIFICATIONS
from db.workbench.sessions.open_request import OpenRequest
from tests.fixtures.hostile_postgres import ENDLESS, hostile_postgres
from tests.fixtures.patience import PATIENCE_S, patience
from tests.fixtures.runs import Desk, serve_sessions
from tests.fixtures.workbench import ConnectionSaver
from tests.security.test_hostile_ssh import longest_pause
from tests.security.test_large_rows import highest_resident

pytestmark = pytest.mark.usefixtures("real_limits")

ADDED_MB = 100
"""A row of 32 MiB, and the copies that are made of it."""
LONGEST_PAUSE_S = 0.25
TIMEOUT_S = 1.0
LONG_TIMEOUT_S = 2 * PATIENCE_S
POLLS = 300
"""The polls of ten minutes."""


@pytest.fixture
async def hostile_port() -> AsyncIterator[int]:
    async with hostile_postgres() as port:
        yield port


def destination(port: int, database: str) -> Destination:
    return Destination(
        host="127.0.0.1", port=port, database=database, username="ada", ssl_mode="DISABLE"
    )


@contextlib.asynccontextmanager
async def harmless() -> AsyncIterator[None]:
    """The block adds little memory and leaves the event loop to others."""
    async with highest_resident() as peak, longest_pause() as pauses:
        yield
    assert max(peak) < ADDED_MB
    assert pauses[-1] < LONGEST_PAUSE_S


async def test_start_without_end_is_bounded(
    hostile_port: int, targets: Targets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what is received, and not by the limit in time."""
    monkeypatch.setattr(connector, "CONNECT_S", 2 * PATIENCE_S)
    starts = [f"start-{name}" for name in ENDLESS if name != "columns"]
    for name in [*starts, "idle-rows", "idle-notifications", "idle-parameters"]:
        hostile = Connector(destination(hostile_port, name), targets)
        async with patience(), harmless():
            with pytest.raises(Unreachable):
                await hostile.connect()
        await hostile.close()


async def test_start_byte_by_byte_ends_in_time(
    hostile_port: int, targets: Targets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connector, "CONNECT_S", 1.0)
    slow = Connector(destination(hostile_port, "start-trickle"), targets)
    async with patience():
        with pytest.raises(Unreachable):
            await slow.connect()
    await slow.close()


async def test_hostile_server_fails_its_own_run(
    hostile_port: int, desk: Desk, saver: ConnectionSaver
) -> None:
    expected = {
        "parameters": (RunState.FAILED, "reported more settings"),
        "notifications": (RunState.FAILED, "bytes"),
        "notices": (RunState.TIMED_OUT, "ms"),
        "results": (RunState.TIMED_OUT, "ms"),
        "error": (RunState.FAILED, "bytes"),
        "claim": (RunState.FAILED, "bytes"),
        "columns": (RunState.FAILED, "was lost"),
        "silence": (RunState.TIMED_OUT, "ms"),
        "copy": (RunState.TIMED_OUT, "ms"),
        "copy of nothing": (RunState.FAILED, "bytes"),
        "copy claim": (RunState.FAILED, "bytes"),
        "copy in": (RunState.FAILED, "began a copy"),
        "copy both": (RunState.FAILED, "began a copy"),
    }
    for name, (state, words) in expected.items():
        hostile = desk._replace(
            connection_id=await saver.save(
                host="127.0.0.1", port=hostile_port, database=f"run-{name}", ssl_mode="DISABLE"
            )
        )
        timeout_s = TIMEOUT_S if state == RunState.TIMED_OUT else LONG_TIMEOUT_S
        async with harmless():
            run = await hostile.run("SELECT hostile", timeout_ms=round(timeout_s * 1000))
        assert run.state == state, (name, run.error, run.state)
        assert run.parsed_error is not None
        assert words in run.parsed_error.message, name
        assert (await desk.run("SELECT 1")).state == RunState.SUCCEEDED


async def test_run_ends_in_time_although_its_server_answers_no_termination(
    hostile_port: int, desk: Desk, saver: ConnectionSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait for a statement that is cancelled lasts longer than the stop of a run may."""
    monkeypatch.setattr(bounded_connection, "CANCEL_S", 10 * PATIENCE_S)
    hostile = desk._replace(
        connection_id=await saver.save(
            host="127.0.0.1", port=hostile_port, database="unending-silence", ssl_mode="DISABLE"
        )
    )
    async with patience():
        run = await hostile.run("SELECT hostile", timeout_ms=round(TIMEOUT_S * 1000))
    assert run.state == RunState.TIMED_OUT


async def test_false_answer_of_a_hostile_server_is_no_internal_error(
    hostile_port: int, desk: Desk, saver: ConnectionSaver
) -> None:
    runs: dict[str, RunRow] = {}
    for name in ("position", "count", "many columns", "bytes", "labels"):
        hostile = desk._replace(
            connection_id=await saver.save(
                host="127.0.0.1", port=hostile_port, database=f"run-{name}", ssl_mode="DISABLE"
            )
        )
        async with harmless():
            runs[name] = await hostile.run("SELECT hostile", timeout_ms=120_000)
    refused = runs["position"].parsed_error
    assert refused is not None
    assert (refused.message, refused.position) == ("wrong", None)
    assert (runs["count"].state, runs["count"].rows_affected) == (RunState.SUCCEEDED, None)
    error = runs["many columns"].parsed_error
    assert error is not None
    assert "not those of PostgreSQL" in error.message
    assert runs["bytes"].state == runs["labels"].state == RunState.SUCCEEDED
    labels = runs["labels"].parsed_notices
    assert labels
    assert {len(label) for each in labels for label in (each.severity, each.sqlstate or "")} == {
        MAX_LABEL_CHARS
    }


async def test_message_that_libpq_cannot_read_is_an_error_of_the_connection(
    hostile_port: int, targets: Targets
) -> None:
    """libpq closes its socket with bytes unread, which resets the other end of the pair."""
    hostile = Connector(destination(hostile_port, "run-lost synchronization"), targets)
    connection = await hostile.connect()
    async with patience():
        with pytest.raises(psycopg.Error):
            await command(connection, "SELECT hostile")
    await connection.close()
    await hostile.close()


async def test_names_of_encodings_are_neither_logged_nor_kept(
    hostile_port: int, desk: Desk, saver: ConnectionSaver, caplog: pytest.LogCaptureFixture
) -> None:
    kept, expected = pg2pyenc.cache_info().currsize, {"encodings": 100, "long encodings": 0}
    for name, notices in expected.items():
        hostile = desk._replace(
            connection_id=await saver.save(
                host="127.0.0.1", port=hostile_port, database=f"run-{name}", ssl_mode="DISABLE"
            )
        )
        async with harmless():
            run = await hostile.run("SELECT hostile", timeout_ms=round(TIMEOUT_S * 1000))
        assert run.state in {RunState.TIMED_OUT, RunState.FAILED}
        assert len(run.parsed_notices) == notices
    assert pg2pyenc.cache_info().currsize < kept + 10
    assert not [record for record in caplog.records if record.name == "psycopg"]


async def test_name_of_a_time_zone_is_neither_logged_nor_kept(
    hostile_port: int, targets: Targets, caplog: pytest.LogCaptureFixture
) -> None:
    """psycopg does both for one that Python does not know."""
    hostile = Connector(destination(hostile_port, "run-time zone"), targets)
    connection = await hostile.connect()
    async with patience():
        assert await fetch_value(connection, "SELECT hostile") is not None
    assert not [record for record in caplog.records if record.name == "psycopg"]
    await connection.close()
    await hostile.close()


@pytest.mark.parametrize("answer", ["binary array", "unopened array"])
async def test_false_array_is_an_error_of_the_server(
    hostile_port: int, desk: Desk, saver: ConnectionSaver, targets: Targets, answer: str
) -> None:
    """psycopg's loader of binary arrays trusts their counts, and ended the process."""
    hostile = Connector(destination(hostile_port, f"run-{answer}"), targets)
    connection = await hostile.connect()
    async with patience():
        with pytest.raises(psycopg.DataError):
            await fetch_value(connection, "SELECT hostile")
    await connection.close()
    await hostile.close()
    of_run = desk._replace(
        connection_id=await saver.save(
            host="127.0.0.1", port=hostile_port, database=f"run-{answer}", ssl_mode="DISABLE"
        )
    )
    assert (await of_run.run("SELECT hostile", timeout_ms=120_000)).row_count == 1


@pytest.mark.parametrize("rows", ["catalogue", "wide catalogue", "widening catalogue"])
async def test_rows_for_queries_of_ours_are_bounded(
    hostile_port: int, desk: Desk, saver: ConnectionSaver, rows: str
) -> None:
    """They are few and small, so that a server which sends gigabytes is disconnected."""
    hostile = desk._replace(
        connection_id=await saver.save(
            host="127.0.0.1", port=hostile_port, database=f"run-{rows}", ssl_mode="DISABLE"
        )
    )
    async with highest_resident() as peak:
        run = await hostile.run("SELECT hostile", timeout_ms=120_000)
    assert run.state == RunState.SUCCEEDED, run
    assert max(peak) < ADDED_MB


async def test_results_of_statements_of_ours_are_bounded(
    hostile_port: int, desk: Desk, saver: ConnectionSaver
) -> None:
    """Each takes more memory than its message, of which a connection may buffer millions."""
    connection_id = await saver.save(
        host="127.0.0.1", port=hostile_port, database="begin-results", ssl_mode="DISABLE"
    )
    inserted = ChangeRequest("a", "b", [RawChange(RowChangeKind.INSERT)], connection_id)
    begins = {
        "bytes": RunRequest(connection_id, "SELECT 1", read_only=True, timeout_ms=120_000),
        "lost before the commit": inserted.to_run_request()._replace(timeout_ms=120_000),
    }
    for words, request in begins.items():
        async with harmless():
            run = await desk.end_of((await desk.runner.submit(desk.owner, request)).run)
        assert run.state == RunState.FAILED
        assert run.parsed_error is not None
        assert words in run.parsed_error.message


async def test_server_of_an_idle_session_is_bounded(
    hostile_port: int, desk: Desk, saver: ConnectionSaver
) -> None:
    """Nothing was asked, so that what arrives waits until somebody looks."""
    closes = {"parameters": True, "claim": True, "rows": True, "large notifications": False}
    async with serve_sessions(desk.server) as service:
        for name, is_closed in closes.items():
            connection_id = await saver.save(
                host="127.0.0.1", port=hostile_port, database=f"session-{name}", ssl_mode="DISABLE"
            )
            row = await service.open(desk.owner, OpenRequest(connection_id))
            assert service.holder is not None
            held = service.holder.held[row.id]
            async with harmless(), patience():
                for _ in range(POLLS):
                    held.poll()
                    await asyncio.sleep(0.001)  # the server sends more meanwhile
                while is_closed and not held.is_lost:
                    held.poll()
                    await asyncio.sleep(0.001)
            assert held.is_lost == is_closed, name
            assert len(repr(held._notices)) < 20 * MAX_NOTIFICATIONS * MAX_MESSAGE_CHARS
            await service.close(desk.owner, row.id)


async def test_notification_in_an_unknown_encoding_is_a_notice(
    hostile_port: int, desk: Desk, saver: ConnectionSaver
) -> None:
    """An SQL_ASCII database may send one, too. Its error ended the poll of all sessions."""
    async with serve_sessions(desk.server) as service:
        connection_id = await saver.save(
            host="127.0.0.1",
            port=hostile_port,
            database="session-foreign notifications",
            ssl_mode="DISABLE",
        )
        row = await service.open(desk.owner, OpenRequest(connection_id))
        assert service.holder is not None
        held = service.holder.held[row.id]
        async with patience():
            while not held._notices:
                held.poll()
                await asyncio.sleep(0.001)
        assert "\ufffd" in held._notices[0].message
        await service.close(desk.owner, row.id)


async def test_server_that_lets_no_session_open_does_not_delay_the_stop(
    hostile_port: int, desk: Desk, saver: ConnectionSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holder, "STOPPED_S", 0.2)
    connection_id = await saver.save(
        host="127.0.0.1", port=hostile_port, database="idle-silence", ssl_mode="DISABLE"
    )
    async with serve_sessions(desk.server) as service:
        opening = asyncio.create_task(service.open(desk.owner, OpenRequest(connection_id)))
        async with patience():
            while service.holder is None or not service.holder._tasks:  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.01)
        async with patience():
            await service.stop(grace_s=0.2)
        with pytest.raises(Unavailable):
            await opening


async def test_hostile_server_gives_no_sample(
    hostile_port: int, desk: Desk, saver: ConnectionSaver
) -> None:
    """What is true of a run is true of the connection that asks how far it is."""
    server = desk.server
    async with LiveSamples.opened(server.database, server.events, server.workbench) as samples:
        for name in ("notices", "claim", "rows", "columns", "silence"):
            connection_id = await saver.save(
                host="127.0.0.1", port=hostile_port, database=f"run-{name}", ssl_mode="DISABLE"
            )
            asked = RunBackend(uuid4(), connection_id, Backend(1, "2026-01-01 00:00:00+00"))
            async with harmless():
                found = await samples.sample(desk.owner, [asked])
            assert found == {asked.run_id: NOTHING}, name
        assert (await desk.run("SELECT 1")).state == RunState.SUCCEEDED


async def test_certificates_and_notices_of_a_start_fit(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ordinary start needs a fraction of what is allowed."""
    monkeypatch.setattr(socket_gate, "START_BYTES", socket_gate.START_BYTES // 8)
    assert (await desk.run("SELECT 1")).state == RunState.SUCCEEDED


async def test_turns_of_all_connections_leave_half_of_the_loop() -> None:
    """Eight hostile servers get as many turns together as one."""
    turns, granted = ReadTurns(), list[float]()

    async def read() -> None:
        for _ in range(3):
            await turns.wait()
            granted.append(time.monotonic())
            while time.monotonic() < granted[-1] + TURN_S:
                pass

    await asyncio.gather(*(read() for _ in range(8)))
    assert granted[-1] - granted[0] >= (len(granted) - 1) * 2 * TURN_S * 0.9

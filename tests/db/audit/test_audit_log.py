"""The audit log only grows, with the transactions of the acts, and forgets what is old enough."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest
from sqlalchemy import text

from db.audit import AuditEventRow, AuditFilter, newest_events, sweep
from db.errors import Unavailable
from db.kit.audit import Actor, AuditKind, acting, record, recording_outcome
from db.kit.base import OwnerId, new_id
from db.postgres.engine import Database
from db.postgres.sessions import Session
from db.postgres.statements import compile_change
from db.runs import NewRun, RunQueue, interrupt_orphans, interrupt_queued
from db.users import Users
from tests.fixtures.people import add_person

ACTOR = Actor(new_id(), new_id(), request_id="request-1", address="192.0.2.1")
_AGE = compile_change(
    text("""INSERT INTO audit_events
        (id, kind, outcome, request_id, address, subject_name, details, created_at)
        VALUES (:id, 'SIGN_IN', 'FAILED', '', '', '', '{}', now() - CAST(:age AS interval))""")
)


async def _add_old(session: Session, *, row_id: UUID, age: timedelta) -> None:
    await session.rows(_AGE, id=row_id, age=age)


async def events(database: Database, **conditions: Any) -> Sequence[AuditEventRow]:
    async with database.read() as session:
        return await newest_events(session, AuditFilter(**conditions), limit=100)


async def change(database: Database, sql: str) -> None:
    statement = compile_change(text(sql))
    await database.write(lambda session: session.rows(statement))


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE audit_events SET kind = 'x'",
        "DELETE FROM audit_events",
        "DELETE FROM audit_events WHERE created_at < now() - interval '1 year'",
        "TRUNCATE audit_events",
    ],
)
async def test_database_refuses_changes_of_the_audit_log(database: Database, sql: str) -> None:
    await database.write(lambda session: record(session, AuditKind.SIGN_IN))
    await database.write(lambda session: session.rows(_AGE, id=new_id(), age=timedelta(days=900)))
    before = await events(database)
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="of the audit log is refused"):
        await change(database, sql)
    assert await events(database) == before
    assert len(before) == 2


async def test_sweep_deletes_only_what_is_older_than_the_retention(database: Database) -> None:
    old, young = new_id(), new_id()
    for row_id, days in ((old, 31), (young, 29)):
        age = timedelta(days=days)
        await database.write(partial(_add_old, row_id=row_id, age=age))
    assert await database.transaction(lambda session: sweep(session, days=30)) == 1
    assert [event.id for event in await events(database)] == [young]
    assert await database.transaction(lambda session: sweep(session, days=30)) == 0


async def test_event_is_committed_with_its_act_or_not_at_all(database: Database) -> None:
    async def work(session: Session) -> None:
        await record(session, AuditKind.SIGN_IN)
        raise Unavailable("It failed.", hint="Nothing was changed.")

    with pytest.raises(Unavailable):
        await database.transaction(work)
    assert await events(database) == []


async def test_event_names_the_actor_at_that_time(database: Database, owner: OwnerId) -> None:
    with acting(ACTOR._replace(user_id=owner, address="192.0.2.1\0 and more")):
        await database.write(
            lambda session: record(
                session, AuditKind.CONNECTION_SAVED, details={"host": "h", "port": None}
            )
        )
    assert await database.transaction(lambda session: Users(session).remove(owner))
    removal, event = await events(database)
    assert removal.kind == "USER_REMOVED"
    assert (event.owner_id, event.actor_id) == (owner, owner)
    assert event.actor_email is not None
    assert event.actor_email.startswith("ada-")
    assert event.actor_email == removal.subject_name
    assert (event.request_id, event.session_id) == ("request-1", ACTOR.session_id)
    assert event.address == "192.0.2.1 and more"
    assert event.details == '{"host":"h"}'


async def test_outcome_of_failed_act_is_recorded(database: Database) -> None:
    async def connect() -> None:
        async with recording_outcome(database, AuditKind.CONNECTION_OPENED) as event:
            event.subject_name = "Orders"
            raise Unavailable("It is down.", hint="Start it.")

    with pytest.raises(Unavailable):
        await connect()
    (failed,) = await events(database)
    assert (failed.outcome, failed.subject_name) == ("FAILED", "Orders")
    assert failed.details == '{"error":"UNAVAILABLE"}'


async def queue(database: Database, owner: OwnerId, process: int) -> None:
    origin = {"requestId": "r", "address": "192.0.2.1", "connection": "Orders", "username": "ada"}
    connection: Any = None  # as after its deletion
    encoded = msgspec.json.encode(origin).decode()
    run = NewRun(connection, "SELECT 1", "[]", False, 1, 1, 1, encoded)

    async def accept(session: Session) -> None:
        queue = RunQueue(session, owner)
        await queue.accept(
            await queue.lock(),
            new_id(),
            run,
            process=process,
            has_slot=False,
            backend=None,
            max_running=9,
            max_active=9,
        )

    await database.transaction(accept)


async def test_run_that_no_process_ends_is_recorded(database: Database, owner: OwnerId) -> None:
    keep = timedelta(days=1)
    await queue(database, owner, process=1)
    await database.write(lambda session: interrupt_queued(session, process=1, keep=keep))
    await queue(database, owner, process=2)
    await database.write(lambda session: interrupt_orphans(session, keep=keep))
    found = await events(database, kinds=("QUERY_RUN",))
    assert len(found) == 2
    for event in found:
        assert (event.outcome, event.owner_id, event.actor_id) == ("FAILED", owner, owner)
        assert (event.request_id, event.address) == ("r", "192.0.2.1")
        details = msgspec.json.decode(event.details)
        assert (details["state"], details["statement"]) == ("INTERRUPTED", "SELECT 1")
        assert details["username"] == "ada"


async def test_active_run_of_removed_user_is_recorded(database: Database) -> None:
    owner = await add_person(database, "Eve")
    await queue(database, owner, process=1)
    await database.transaction(lambda session: Users(session).remove(owner))
    (event,) = await events(database, kinds=("QUERY_RUN",))
    assert event.actor_id == owner
    assert msgspec.json.decode(event.details)["state"] == "INTERRUPTED"


async def test_end_of_run_takes_no_statement_for_its_event(
    database: Database, owner: OwnerId
) -> None:
    await queue(database, owner, process=1)
    sent: list[str] = []
    database.observe = sent.append
    keep = timedelta(days=1)
    await database.write(lambda session: interrupt_queued(session, process=1, keep=keep))
    assert len(sent) == 1
    assert len(await events(database)) == 1

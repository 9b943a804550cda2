"""The stream of audit events misses none, whatever the order of the commits."""

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy import text

from db.audit import AuditEventRow, begin_stream, write_next
from db.kit.audit import AuditKind, record, record_alone
from db.postgres.engine import Database
from db.postgres.sessions import Session
from db.postgres.statements import compile_change

_MOVE_FAR = compile_change(text("UPDATE audit_stream SET position = 1000000000000"))


class Sink(list[str]):
    """The names of the subjects that were written."""

    async def write(self, events: Sequence[AuditEventRow]) -> None:
        self += [event.subject_name for event in events]


async def act(database: Database, name: str) -> None:
    await record_alone(database, AuditKind.SIGN_IN, subject_name=name)


async def test_stream_writes_each_event_once(committed: Database) -> None:
    sink = Sink()
    await act(committed, "before")
    await begin_stream(committed)
    await asyncio.gather(*(act(committed, f"{number}") for number in range(8)))
    assert sum(await asyncio.gather(*(write_next(committed, sink.write) for _ in range(4)))) == 8
    await act(committed, "last")
    await write_next(committed, sink.write)
    assert await write_next(committed, sink.write) == 0
    assert sorted(sink[:-1]) == [f"{number}" for number in range(8)]
    assert sink[-1] == "last"


async def test_stream_waits_for_transactions_that_began_before(committed: Database) -> None:
    sink, recorded, end = Sink(), asyncio.Event(), asyncio.Event()
    await begin_stream(committed)

    async def slowly(session: Session) -> None:
        await record(session, AuditKind.SIGN_IN, subject_name="first")
        recorded.set()
        await end.wait()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(committed.transaction(slowly))
        await recorded.wait()
        await act(committed, "second")
        assert await write_next(committed, sink.write) == 0
        end.set()
    await write_next(committed, sink.write)
    assert sink == ["first", "second"]


async def test_stream_repeats_what_could_not_be_written(committed: Database) -> None:
    async def fail(_: object) -> None:
        raise OSError("the disk is full")

    sink = Sink()
    await begin_stream(committed)
    await act(committed, "one")
    with pytest.raises(OSError, match="full"):
        await write_next(committed, fail)
    await write_next(committed, sink.write)
    assert sink == ["one"]


async def test_stream_begins_anew_in_a_copied_database(committed: Database) -> None:
    sink = Sink()
    await begin_stream(committed)
    await act(committed, "of the original")
    await committed.write(lambda session: session.rows(_MOVE_FAR))
    assert await write_next(committed, sink.write) == 0
    await act(committed, "of the copy")
    await write_next(committed, sink.write)
    assert sink == ["of the copy"]

"""Which processes are dead, by the heartbeats in the database and its clock."""

from datetime import timedelta

from sqlalchemy import text

from db.postgres.engine import Database
from db.postgres.sessions import Session
from db.postgres.statements import compile_change
from db.replicas import Heartbeat, ReplicaProcesses

_PAUSE = compile_change(text("UPDATE replica_processes SET seen_at = seen_at - :by ::interval"))
_SILENCE = compile_change(
    text("UPDATE replica_processes SET seen_at = seen_at - :by ::interval WHERE process = :process")
)
_STEADY = compile_change(
    text("UPDATE replica_processes SET steady_since = steady_since - interval '1 minute'")
)
_AHEAD = compile_change(
    text("""UPDATE replica_processes SET seen_at = seen_at + interval '1 hour',
        steady_since = steady_since + interval '1 hour'""")
)
LONG = timedelta(seconds=16)


async def register(database: Database, *processes: int) -> None:
    async def write(session: Session) -> None:
        for process in processes:
            await ReplicaProcesses(session).register(process, version="1", host="here")

    await database.transaction(write)


async def beat(database: Database, process: int) -> bool:
    return await database.write(lambda session: ReplicaProcesses(session).beat(process))


async def fence(database: Database, judge: int) -> list[int]:
    found = await database.write(lambda session: ReplicaProcesses(session).fence_silent(judge))
    return [process for process, _ in found]


async def live(database: Database) -> list[int]:
    async with database.read() as session:
        return [row.process for row in await ReplicaProcesses(session).list_live()]


async def silence(database: Database, process: int, by: timedelta = LONG) -> None:
    await database.write(lambda session: session.rows(_SILENCE, process=process, by=by))


async def test_silent_process_is_fenced_for_ever(database: Database) -> None:
    await register(database, 1, 2)
    await database.write(lambda session: session.rows(_STEADY))
    await silence(database, 2)
    assert await fence(database, 1) == [2]
    assert not await beat(database, 2)
    assert await beat(database, 1)
    assert await live(database) == [1]
    assert await fence(database, 1) == []


async def test_new_process_fences_none_before_the_others_had_time_to_beat(
    database: Database,
) -> None:
    await register(database, 1, 2)
    await silence(database, 2)
    assert await fence(database, 1) == []


async def test_pause_of_the_database_fences_none(database: Database) -> None:
    """All heartbeats were late, and one process beats first."""
    await register(database, 1, 2)
    await database.write(lambda session: session.rows(_STEADY))
    await database.write(lambda session: session.rows(_PAUSE, by=LONG))
    assert await beat(database, 1)
    assert await fence(database, 1) == []
    assert await beat(database, 2)


async def test_process_that_missed_heartbeats_fences_none(database: Database) -> None:
    """The database may have paused since its last one."""
    await register(database, 1, 2)
    await database.write(lambda session: session.rows(_STEADY))
    await silence(database, 2)
    await silence(database, 1, timedelta(seconds=7))
    assert await fence(database, 1) == []


async def test_process_judges_again_soon_after_the_clock_was_set_back(database: Database) -> None:
    """And not only when the clock has reached the times that were recorded before."""
    await register(database, 1, 2)
    await database.write(lambda session: session.rows(_AHEAD))
    assert await beat(database, 1)
    assert await beat(database, 2)
    await silence(database, 2)
    assert await fence(database, 1) == []
    await database.write(lambda session: session.rows(_STEADY))
    assert await fence(database, 1) == [2]


async def test_fenced_process_fences_none(database: Database) -> None:
    await register(database, 1, 2, 3)
    await database.write(lambda session: session.rows(_STEADY))
    await silence(database, 2)
    await fence(database, 1)
    await silence(database, 3)
    assert await fence(database, 2) == []
    assert await fence(database, 1) == [3]


async def test_fingerprints_are_read_with_their_process(database: Database) -> None:
    given = {"credential key": "ab12"}
    await database.write(
        lambda session: ReplicaProcesses(session).register(
            1, version="1", host="here", fingerprints=given
        )
    )
    async with database.read() as session:
        [row] = await ReplicaProcesses(session).list_live()
    assert (row.process, row.host, row.fingerprints) == (1, "here", given)


async def test_removed_process_and_long_dead_ones_leave_no_row(database: Database) -> None:
    await register(database, 1, 2)
    await database.write(lambda session: session.rows(_STEADY))
    await silence(database, 2)
    await fence(database, 1)
    await database.write(lambda session: ReplicaProcesses(session).remove(1))
    assert await live(database) == []
    swept = await database.write(lambda session: ReplicaProcesses(session).sweep(keep=timedelta()))
    assert swept == 1


async def test_one_process_is_the_oldest_until_it_is_silent(database: Database) -> None:
    await register(database, 7, 3)
    older, younger = (Heartbeat(database, process=number) for number in (7, 3))
    assert (await older.is_oldest(), await younger.is_oldest()) == (True, False)
    await silence(database, 7)
    assert (await older.is_oldest(), await younger.is_oldest()) == (False, True)


async def test_process_that_was_found_dead_ends_its_work_before_it_goes_on(
    database: Database,
) -> None:
    """Others may not reach the databases of its users to end what runs there."""
    ended: list[int] = []
    async with Heartbeat.opened(database) as heartbeat:
        dead = heartbeat.process
        for _ in range(2):
            heartbeat.on_fenced(lambda: ended.append(heartbeat.process))
        await heartbeat.beat()
        assert (ended, heartbeat.process) == ([], dead)
        await register(database, 1)
        await database.write(lambda session: session.rows(_STEADY))
        await silence(database, dead)
        assert await fence(database, 1) == [dead]
        await heartbeat.beat()
        assert ended == [dead, dead]
        assert heartbeat.process in await live(database)

"""Notices of a run are readable before it ends, and writing them is limited."""

import asyncio
from collections.abc import Sequence

import pytest

from db.runs import RunState, ServerNotice
from db.workbench.execution import live_notices
from db.workbench.execution.live_notices import BYTES_PER_S, LiveNotices
from tests.fixtures.blockers import session_of
from tests.fixtures.runs import Desk
from tests.fixtures.targets import Target

NOTICE = ServerNotice(severity="NOTICE", message="one")


async def test_notices_arrive_while_the_statement_runs(desk: Desk, target: Target) -> None:
    async with session_of(target) as keeper:
        await keeper.execute("SELECT pg_advisory_lock(9001), pg_advisory_lock(9002)")
        run = await desk.start("""DO $$ BEGIN
            RAISE NOTICE 'one'; PERFORM pg_advisory_xact_lock(9001);
            RAISE NOTICE 'two'; PERFORM pg_advisory_xact_lock(9002);
            RAISE NOTICE 'three'; END $$""")
        now = await desk.until(run, lambda now: now.parsed_notices)
        assert (now.state, [one.message for one in now.parsed_notices]) == ("RUNNING", ["one"])
        await keeper.execute("SELECT pg_advisory_unlock(9001)")
        later = await desk.until(run, lambda now: len(now.parsed_notices) > 1)
        assert [one.message for one in later.parsed_notices] == ["one", "two"]
        assert later.revision > now.revision
        await keeper.execute("SELECT pg_advisory_unlock(9002)")
        over = await desk.end_of(run)
    assert [one.message for one in over.parsed_notices] == ["one", "two", "three"]


async def test_notices_of_a_short_run_are_written_with_its_end(desk: Desk) -> None:
    run = await desk.start("DO $$ BEGIN RAISE NOTICE 'one'; END $$")
    over = await desk.end_of(run)
    assert (over.state, over.revision) == (RunState.SUCCEEDED, run.revision + 1)
    assert [one.message for one in over.parsed_notices] == ["one"]


class Writes:
    """Records what is written, and lets the test wait for it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.counts: list[int] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.done = asyncio.Event()
        self.notices = LiveNotices(self._write, self._start)

    def _start(self, work: object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(lambda _: self.done.set())

    async def _write(self, notices: Sequence[ServerNotice]) -> int:
        self.counts.append(len(notices))
        return self.size


async def test_notices_of_an_interval_are_written_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live_notices, "INTERVAL_S", 0.01)
    writes = Writes(size=100)
    for count in range(1, 51):
        writes.notices.changed([NOTICE] * count)
    await writes.done.wait()
    assert writes.counts == [50]


async def test_long_notices_are_written_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_notices, "INTERVAL_S", 0.01)
    writes = Writes(size=60 * BYTES_PER_S)
    writes.notices.changed([NOTICE])
    await writes.done.wait()
    writes.notices.changed([NOTICE] * 2)
    timer = writes.notices._timer
    assert timer is not None
    assert timer.when() - asyncio.get_running_loop().time() > 59
    writes.notices.close()
    assert timer.cancelled()


async def test_closed_notices_are_not_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_notices, "INTERVAL_S", 0)
    writes = Writes(size=1)
    writes.notices.changed([NOTICE])
    writes.notices.close()
    writes.notices.changed([NOTICE] * 2)
    await asyncio.sleep(0)
    assert writes.counts == []

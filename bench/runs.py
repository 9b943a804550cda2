"""The delay until one subscriber sees the end of a cancelled run, and a thousand a change.

make bench-runs                      about a minute; let nothing else run meanwhile
make bench-runs ARGS="--quick"       small, a smoke test that does not check the goals

All times start when `cancelQuery` is sent, so they include the cancel itself.
"""

import asyncio
import contextlib
import json
import statistics
import time
from collections.abc import Sequence
from typing import NamedTuple

import psycopg
import websockets

from bench.desk import STATUS, Desk, at_a_desk, machine, results_of, subscribe
from bench.verdict import judge

CANCEL = """mutation($id: ID!) {
  cancelQuery(input: {id: $id}) { outcome connectionUsable run { state } } }"""
SLEEP = "SELECT pg_sleep(60)"
TRAP = """DO $$ BEGIN LOOP
  BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END;
END LOOP; END $$"""
IS_ASLEEP = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
ON_A_SOCKET = 100


class Size(NamedTuple):
    """Numbers of rounds and subscribers."""

    cancels: int
    trapped: int
    subscribers: int
    changes: int


FULL = Size(cancels=100, trapped=10, subscribers=1_000, changes=10)
QUICK = Size(cancels=3, trapped=1, subscribers=20, changes=1)


def main() -> None:
    judge(__doc__, bench, FULL, QUICK)


async def bench(size: Size) -> list[str]:
    """Returns the measurements that missed their goal."""
    async with at_a_desk() as desk:
        await timed(desk, 1)  # warms up
        cancels = [ms for _ in range(size.cancels) for ms in await timed(desk, 1)]
        trapped = [ms for _ in range(size.trapped) for ms in await timed(desk, 1, trap=True)]
        changes = [ms for _ in range(size.changes) for ms in await timed(desk, size.subscribers)]
        print(f"{machine(desk.target)}\n\n{'ms':36}{'p50':>8}{'p99':>8}{'worst':>8}   goal of p99")
    found = [
        reported(f"{size.cancels} cancels, to a subscriber", cancels, goal_ms=100),
        reported(f"{size.trapped} that are trapped", trapped, goal_ms=2_000),
        reported(f"{size.changes} changes, to {size.subscribers:,} of them", changes, goal_ms=250),
    ]
    return [name for name in found if name]


async def timed(desk: Desk, subscribers: int, *, trap: bool = False) -> list[float]:
    """Milliseconds from the cancel of a run until each subscriber receives its end."""
    run_id = await desk.start(TRAP if trap else SLEEP)
    await until_asleep(desk)
    async with contextlib.AsyncExitStack() as stack:
        sockets = [
            await stack.enter_async_context(desk.socket())
            for _ in range(0, subscribers, ON_A_SOCKET)
        ]
        counts = [
            min(ON_A_SOCKET, subscribers - start) for start in range(0, subscribers, ON_A_SOCKET)
        ]
        for socket, count in zip(sockets, counts, strict=True):
            await follow(socket, run_id, count)
        sent_at = time.perf_counter()
        cancelling = asyncio.create_task(desk.ask(CANCEL, id=run_id))
        ended = await asyncio.gather(*map(ends, sockets, counts))
        verdict = (await cancelling)["cancelQuery"]
    assert verdict["outcome"] == ("TERMINATED" if trap else "CANCELLED"), verdict
    assert verdict["connectionUsable"] is not trap, verdict
    await desk.delete(run_id)
    return [(moment - sent_at) * 1000 for moments in ended for moment in moments]


async def follow(socket: websockets.ClientConnection, run_id: str, count: int) -> None:
    """Opens subscriptions, and waits until each has received the current status."""
    for number in range(count):
        await subscribe(socket, str(number), STATUS, id=run_id)
        assert json.loads(await socket.recv())["type"] == "next"


async def ends(socket: websockets.ClientConnection, count: int) -> list[float]:
    """The times at which the subscriptions of a socket received the end."""
    moments: list[float] = []
    async for _, data in results_of(socket, subscriptions=count):
        if data["queryStatus"]["state"] == "CANCELLED":
            moments.append(time.perf_counter())
    assert len(moments) == count, moments
    return moments


async def until_asleep(desk: Desk) -> None:
    async with await psycopg.AsyncConnection.connect(
        desk.target.url, autocommit=True
    ) as connection:
        while True:
            row = await (await connection.execute(IS_ASLEEP)).fetchone()
            if row and row[0]:
                return
            await asyncio.sleep(0.01)


def reported(name: str, times_ms: Sequence[float], *, goal_ms: float) -> str | None:
    """Prints a measurement; returns its name if it missed the goal."""
    p99 = statistics.quantiles(times_ms, n=100, method="inclusive")[98]
    shown = (statistics.median(times_ms), p99, max(times_ms))
    print(f"{name:36}{''.join(f'{ms:8.1f}' for ms in shown)}   < {goal_ms:.0f}")
    return name if p99 >= goal_ms else None


if __name__ == "__main__":
    main()

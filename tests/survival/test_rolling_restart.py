"""No request fails while three replicas behind HAProxy restart, one after the other."""

import contextlib
from pathlib import Path

from tests.fixtures.balancer import CREATED, Balancer, grown, load
from tests.fixtures.ports import free_port
from tests.fixtures.replicas import AddUser, OpenReplica, Replica

FOREVER_S = 3_600
"""Each drain lasts until HAProxy has noticed it."""


async def test_rolling_restart_fails_no_request(
    open_replica: OpenReplica, add_user: AddUser, tmp_path: Path
) -> None:
    ports = [free_port() for _ in range(3)]
    balancer = Balancer(tmp_path, ports)
    async with contextlib.AsyncExitStack() as every:
        enter = every.enter_async_context
        stacks = {port: await enter(contextlib.AsyncExitStack()) for port in ports}
        replicas: dict[int, Replica] = {}

        async def start(port: int) -> None:
            opened = open_replica(port=port, drain_seconds=FOREVER_S)
            replicas[port] = await stacks[port].enter_async_context(opened)

        async def stop(port: int) -> None:
            server = replicas[port].server
            server.drain()
            await balancer.finds(port, "DOWN")
            server.should_exit = True
            await stacks[port].aclose()

        for port in ports:
            await start(port)
        await enter(balancer.running())
        for port in ports:
            await balancer.finds(port, "UP")
        ann = (await replicas[ports[0]].person(await add_user("Ann"))).client
        async with load(balancer.address, ann.headers) as outcomes:
            for port in ports:
                await stop(port)
                await grown(outcomes)
                await start(port)
                await balancer.finds(port, "UP")
                await grown(outcomes)
        for port in ports:
            replicas[port].server.should_exit = True
    assert set(outcomes) == {CREATED}, outcomes

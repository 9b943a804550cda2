"""A rolling restart behind HAProxy: no request fails, and none is sent twice.

HAProxy is configured as in docs/deploy/proxies: a refused connection is tried at another replica.
Each replica gets SIGTERM, drains while HAProxy finds /readyz red, and starts again.
"""

import asyncio
import contextlib
import signal
from contextlib import AsyncExitStack

import httpx

from tests.drills.frame import Figure, Plan
from tests.fixtures.balancer import CREATED, Balancer, grown, load
from tests.fixtures.cluster import open_fast
from tests.fixtures.patience import PATIENCE_S, patience
from tests.fixtures.ports import free_port
from tests.fixtures.served import Served, new_keys, served


async def drill(plan: Plan) -> list[Figure]:
    drain_s = 2 if plan.is_quick else 5
    environment = {
        "HOWDAH_ENV": "development",
        **new_keys(),
        "HOWDAH_OBJECTS_URL": f"file://{plan.folder / 'objects'}",
        "HOWDAH_DRAIN_SECONDS": str(drain_s),
    }
    ports = [free_port() for _ in range(2 if plan.is_quick else 3)]
    balancer = Balancer(plan.folder, ports, fall=2, retries=3)
    loop = asyncio.get_running_loop()
    red_s, down_s = [], []
    async with AsyncExitStack() as every:
        own = await every.enter_async_context(await open_fast(plan.folder / "postgres"))
        environment["HOWDAH_DATABASE_URL"] = own.url
        stacks = {port: await every.enter_async_context(AsyncExitStack()) for port in ports}
        servers: dict[int, Served] = {}

        async def start(port: int) -> None:
            opened = served(plan.folder / str(port), "--port", str(port), **environment)
            servers[port] = await stacks[port].enter_async_context(opened)

        await asyncio.gather(*map(start, ports))
        await every.enter_async_context(balancer.running())
        for port in ports:
            await balancer.finds(port, "UP")
        headers = dict(servers[ports[0]].http.headers)
        async with load(balancer.address, headers) as outcomes:
            for port in ports[:1] if plan.is_quick else ports:
                since = loop.time()
                servers[port].signal(signal.SIGTERM)
                await until_red(port)
                red_s.append(loop.time() - since)
                await balancer.finds(port, "DOWN")
                down_s.append(loop.time() - since)
                await stacks[port].aclose()  # waits for its end
                await start(port)
                await balancer.finds(port, "UP")
                await grown(outcomes)
    failed = outcomes.total() - outcomes[CREATED]
    return [
        Figure("requests that failed", 0, failed),
        Figure("/readyz is red after SIGTERM within", 0.5, max(red_s), "s"),
        Figure("HAProxy sends no more after", 3, max(down_s), "s"),
    ]


async def until_red(port: int) -> None:
    async with httpx.AsyncClient(timeout=PATIENCE_S) as http, patience():
        with contextlib.suppress(httpx.ConnectError):
            while (await http.get(f"http://127.0.0.1:{port}/readyz")).is_success:
                pass

"""How long hostile requests block the event loop: CPU of its thread, per step and in total.

make bench-hostile                  the worst of three for each request

Other requests wait for the longest step. The thread that prepares large documents is not included:
Python switches between the two threads every 5 ms.
"""

import argparse
import asyncio
import gc
import sys
import time
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

from db.services import Services
from graph.context import Context
from graph.operations import Operations, Plans, Refused, refuse
from graph.operations.limits import RequestLimits
from graph.schema import schema
from graph.server.uvicorn_server import _settle_memory
from graph.transport.http.request_parsing import from_body, read_body
from tests.fixtures.hostile import REQUESTS, body_of

GOAL_MS = 80.0
HEADERS = {b"content-type": b"application/json"}


class Taken(NamedTuple):
    """CPU of one request."""

    longest_ms: float
    loop_ms: float
    process_ms: float
    code: str


class Stopwatch:
    """Measures each step of the event loop."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        run = asyncio.Handle._run  # noqa: SLF001 - the one place that every step passes

        def timed(handle: asyncio.Handle) -> None:
            began = time.thread_time()
            run(handle)
            self.steps.append(time.thread_time() - began)

        asyncio.Handle._run = timed  # type: ignore[assignment,method-assign]  # noqa: SLF001


async def answer(operations: Operations, body: bytes) -> str:
    """Handles one request, from its bytes to those of its response."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def reserve(size: int) -> None:
        """Nothing else is received."""

    context = Context(services=cast("Services", SimpleNamespace()), viewer=None, request_id="bench")
    max_bytes = RequestLimits().body_bytes
    request = from_body(await read_body(HEADERS, receive, max_bytes, reserve))
    try:
        prepared = await operations.prepare(request, context)
    except Refused as refused:
        return refuse(*refused.errors, request_id="bench").code
    return (await operations.run(prepared, request.variables, context)).code


async def measure(operations: Operations, body: bytes, stopwatch: Stopwatch) -> Taken:
    gc.collect()
    await asyncio.sleep(0)
    stopwatch.steps.clear()
    began = time.process_time()
    code = await asyncio.create_task(answer(operations, body))
    await asyncio.sleep(0)
    process_ms = (time.process_time() - began) * 1000
    steps = stopwatch.steps
    return Taken(max(steps) * 1000, sum(steps) * 1000, process_ms, code)


async def bench(runs: int) -> list[str]:
    """Returns the requests that missed the goal."""
    missed = []
    limits = RequestLimits()
    core = schema._schema  # noqa: SLF001 - as in graph.app
    plans = Plans(core, limits=limits, introspection=True, suggestions=False)
    operations = Operations(plans, limits=limits)
    stopwatch = Stopwatch()
    await measure(operations, b'{"query": "{ nothing }"}', stopwatch)  # loads what is loaded late
    _settle_memory()
    print(
        f"{'':34}{'longest':>10}{'loop':>10}{'process':>10}   ms of CPU; goal: {GOAL_MS:g} at most"
    )
    for name, request in REQUESTS.items():
        body = body_of(request)
        taken = max([await measure(operations, body, stopwatch) for _ in range(runs)])
        figures = "".join(f"{figure:10.1f}" for figure in taken[:3])
        print(f"{name:34}{figures}   {taken.code}{'' if taken[0] <= GOAL_MS else '  TOO LONG'}")
        if taken[0] > GOAL_MS:
            missed.append(name)
    plans.close()
    return missed


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    sys.exit(1 if asyncio.run(bench(parser.parse_args().runs)) else 0)


if __name__ == "__main__":
    main()

"""Monitoring: a dead server raises its alert, and a collector of traces that hangs delays nothing.

The alert needs a Prometheus, and a minute and a half: the quick form leaves it to
tests/docs/monitoring.
"""

import contextlib
import socket
import time
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.drills.frame import Figure, Plan
from tests.fixtures.otlp import OtlpCollector
from tests.fixtures.prometheus import TOKEN, configuration, running, until
from tests.fixtures.served import served

QUERY = "query Drilled { tasks(first: 5) { nodes { title } } }"
ALERT_WITHIN_S = 120.0


class Traced(NamedTuple):
    failed: int
    lost_spans: int
    stop_s: float


async def drill(plan: Plan) -> list[Figure]:
    count = 30 if plan.is_quick else 500
    well = await trace(plan, count, hangs=False)
    hung = await trace(plan, count, hangs=True)
    figures = [
        Figure("operations whose span a stopped server lost", 0, well.lost_spans),
        Figure("operations that failed, collector hangs", 0, well.failed + hung.failed),
        Figure("stop of a server whose collector hangs", 10, hung.stop_s, "s"),
    ]
    if not plan.is_quick:
        figures.append(Figure("from the death of the only server to its page", ALERT_WITHIN_S,
            await alert(plan), "s"))  # fmt: skip
    return figures


async def trace(plan: Plan, count: int, *, hangs: bool) -> Traced:
    collector, failed = OtlpCollector(), 0
    if hangs:
        collector.answers.clear()
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.address,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    with collector.running():
        async with served(plan.folder / f"traced-{hangs}", **environment) as server:
            for _ in range(count):
                answer = await server.http.post(server.address, json={"query": QUERY})
                failed += "errors" in answer.json()
            ended = time.monotonic()
        stop_s = time.monotonic() - ended
        return Traced(failed, count - len(collector.named("query Drilled")), stop_s)


async def alert(plan: Plan) -> float:
    """Seconds until `HowdahDown` fires, with the documented intervals."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    async with served(plan.folder / "watched", HOWDAH_METRICS_TOKEN=TOKEN) as server:
        file = configuration(plan.folder, urlsplit(server.address).netloc)
        async with running(plan.folder, file, port) as prometheus:

            async def is_up() -> bool:
                return bool(await prometheus.query('up{job="howdah"} == 1'))

            async def fires() -> bool:
                state: str = (await prometheus.alerts())["HowdahDown"]["state"]
                return state == "firing"

            await until(is_up)
            died = time.monotonic()
            await server.kill("both")
            await until(fires, within_s=2 * ALERT_WITHIN_S)
            return time.monotonic() - died

"""A real Prometheus, with the files of docs/monitoring, asks a real Howdah."""

from pathlib import Path
from urllib.parse import urlsplit

from tests.docs.monitoring.test_board import expressions
from tests.fixtures.prometheus import TOKEN, configuration, running, until
from tests.fixtures.served import served


async def test_prometheus_reads_howdah_and_evaluates_board_and_alerts(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    async with served(tmp_path / "data", HOWDAH_METRICS_TOKEN=TOKEN) as server:
        file = configuration(
            tmp_path,
            urlsplit(server.address).netloc,
            scrape_interval="2s",
            evaluation_interval="1s",
        )
        async with running(tmp_path, file, unused_tcp_port) as prometheus:
            counted = 'sum(rate(howdah_operation_seconds_count{outcome="OK"}[1m])) > 0'

            async def is_counted() -> bool:
                await server.ask("{ viewer { id } }")
                return bool(await prometheus.query(counted))

            async def is_well() -> bool:
                """Every alert is evaluated, and none fires or is about to."""
                rules = (await prometheus.alerts()).values()
                found = {(rule["health"], rule["state"]) for rule in rules}
                targets = (await prometheus.get("targets"))["activeTargets"]
                up = [target["health"] for target in targets] == ["up"]
                return up and found == {("ok", "inactive")}

            async def is_reported_down() -> bool:
                state: str = (await prometheus.alerts())["HowdahDown"]["state"]
                return state != "inactive"

            await until(is_counted)
            for expression in expressions():
                await prometheus.query(filled(expression))
            await until(is_well)
            await server.kill("both")
            await until(is_reported_down)


def filled(expression: str) -> str:
    """An expression of the board as Grafana sends it."""
    for variable, value in (("$__rate_interval", "1m"), ("$job", "howdah"), ("$instance", ".+")):
        expression = expression.replace(variable, value)
    return expression

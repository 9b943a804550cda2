"""A real Prometheus, with the files of docs/monitoring, asks a real Howdah."""

import asyncio
import contextlib
import shutil
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml  # type: ignore[import-untyped]

from tests.docs.monitoring.test_board import expressions
from tests.fixtures.monitoring import ALERTS, FOLDER
from tests.fixtures.patience import PATIENCE_S, patience
from tests.fixtures.served import served

TOKEN = "a-token-for-prometheus"


def configuration(folder: Path, howdah: str) -> Path:
    """The documented one, with another address, another place for the token, and less time."""
    given = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    token = folder / "token"
    token.write_text(TOKEN, encoding="utf-8")
    given["global"] = {"scrape_interval": "2s", "evaluation_interval": "1s"}
    given["rule_files"] = [str(ALERTS)]
    given["scrape_configs"][0]["authorization"]["credentials_file"] = str(token)
    given["scrape_configs"][0]["static_configs"] = [{"targets": [howdah]}]
    del given["alerting"]
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(given), encoding="utf-8")
    return file


class Prometheus:
    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def get(self, path: str, **parameters: str) -> Any:
        answer = await self._http.get(f"/api/v1/{path}", params=parameters)
        body = answer.json()
        assert body["status"] == "success", body
        return body["data"]

    async def query(self, expression: str) -> list[Any]:
        found: list[Any] = (await self.get("query", query=expression))["result"]
        return found

    async def alerts(self) -> dict[str, dict[str, Any]]:
        groups = (await self.get("rules"))["groups"]
        return {rule["name"]: rule for group in groups for rule in group["rules"]}


@contextlib.asynccontextmanager
async def running(folder: Path, file: Path, port: int) -> AsyncIterator[Prometheus]:
    process = await asyncio.create_subprocess_exec(
        *("prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder / 'tsdb'}"),
        *(f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"),
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    try:
        base = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=base, timeout=PATIENCE_S) as http:
            yield Prometheus(http)
    finally:
        process.terminate()
        await process.wait()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Prometheus has no event to wait for."""
    async with patience():
        while True:
            with contextlib.suppress(httpx.TransportError):  # it has not started yet
                if await condition():
                    return
            await asyncio.sleep(0.1)


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs prometheus")
async def test_prometheus_reads_howdah_and_evaluates_board_and_alerts(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    async with served(tmp_path / "data", HOWDAH_METRICS_TOKEN=TOKEN) as server:
        file = configuration(tmp_path, urlsplit(server.address).netloc)
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

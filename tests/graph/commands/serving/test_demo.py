"""`howdah demo` as a process: what it serves, what it keeps, and what it leaves behind."""

import asyncio
import json
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from db.postgres.embedded import processes
from tests.fixtures.patience import PATIENCE_S
from tests.fixtures.served import Served, served
from tests.graph.commands.test_cli import howdah

SEEN = """{
  viewer { email role }
  taskStats { total completed open }
  tasks(first: 10) { nodes { id title completed } }
  bsps(first: 10) { nodes { account usedCapacity } }
  buckets(first: 10) {
    nodes { id name files(first: 10) { nodes { location size status downloadUrl } } }
  }
  connections(first: 10) { nodes { id name version hasStoredPassword } }
}"""
RUN = """mutation ($connection: ID!, $statement: String!) {
  executeQuery(input: {connectionId: $connection, statement: $statement, waitMs: 30000}) {
    run { state error { message } rows(first: 100) { rows } }
  }
}"""
TABLES = """SELECT table_schema || '.' || table_name FROM information_schema.tables
WHERE table_schema IN ('shop', 'reporting') ORDER BY 1"""


async def run(server: Served, connection: str, statement: str) -> Any:
    answer = await server.ask(RUN, connection=connection, statement=statement)
    done = answer["executeQuery"]["run"]
    assert done["state"] == "SUCCEEDED", done
    return done["rows"]["rows"]


def clusters(folder: Path) -> list[int]:
    return [
        pid
        for name in ("postgres", "shop")
        for pid in processes.find(processes.marker(folder / name))
    ]


@pytest.fixture(scope="module")
async def first_start(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Path]:
    """The data folder of a demo that was started once, and its first answer in `seen.json`."""
    folder = tmp_path_factory.mktemp("first") / "demo"
    async with served(folder, command="demo") as server:
        seen = await server.ask(SEEN)
    (folder / "seen.json").write_text(json.dumps(seen))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def folder(first_start: Path, tmp_path: Path) -> Path:
    return shutil.copytree(first_start, tmp_path / "demo")


@pytest.fixture
def first(folder: Path) -> Any:
    """What the first start answered."""
    return json.loads((folder / "seen.json").read_text())


async def test_demo_serves_its_example_data(folder: Path) -> None:
    async with served(folder, command="demo") as server:
        seen = await server.ask(SEEN)
        assert seen["viewer"] == {"email": "admin@howdah.local", "role": "ADMIN"}
        assert seen["taskStats"] == {"total": 8, "completed": 3, "open": 5}
        assert seen["tasks"]["nodes"][0]["title"] == "Run a first query on the shop"
        assert all(int(bsp["usedCapacity"]) > 0 for bsp in seen["bsps"]["nodes"])
        (shop,) = seen["connections"]["nodes"]
        assert (shop["name"], shop["hasStoredPassword"]) == ("Shop", True)
        (bucket,) = seen["buckets"]["nodes"]
        assert bucket["name"] == "documents"
        files = {file["location"]: file for file in bucket["files"]["nodes"]}
        assert {file["status"] for file in files.values()} == {"STORED"}
        bytes_of = {
            location: (await server.http.get(file["downloadUrl"])).content
            for location, file in files.items()
        }
        assert all(len(bytes_of[name]) == int(file["size"]) for name, file in files.items())
        assert bytes_of["pictures/dawn.png"].startswith(b"\x89PNG")

        tables = [table for (table,) in await run(server, shop["id"], TABLES)]
        assert {"shop.customers", "shop.products", "shop.orders", "shop.order_items"} <= set(tables)
        assert len(tables) == 10
        assert await run(server, shop["id"], "SELECT count(*) > 1000 FROM shop.orders") == [[True]]
        superusers = "SELECT rolname FROM pg_roles WHERE rolsuper AND rolname = current_user"
        assert await run(server, shop["id"], superusers) == []
        report = await run(
            server,
            shop["id"],
            "SELECT concat_ws(',', month, orders, revenue) FROM reporting.monthly_revenue "
            "WHERE month BETWEEN '2026-04-01' AND '2026-06-01'",
        )
        assert [line for (line,) in report] == bytes_of["reports/2026-q2.csv"].decode().split()[1:]
        assert len(clusters(folder)) > 2


async def test_demo_keeps_changes_until_a_reset(folder: Path, first: Any) -> None:
    async with served(folder, command="demo") as server:
        shop = first["connections"]["nodes"][0]["id"]
        task = first["tasks"]["nodes"][0]["id"]
        await server.ask(
            "mutation ($id: ID!) { toggleTask(input: {id: $id}) { task { id } } }", id=task
        )
        await run(server, shop, "DELETE FROM shop.reviews")
        before = await server.ask(SEEN)
        for options in ((), ("--reset",)):
            code, _, errors = await howdah("demo", *options, "--data-dir", str(folder))
            assert (code, server.address in errors) == (1, True)
    assert clusters(folder) == []
    assert not list(folder.glob("*/cluster/postmaster.pid")), "SIGTERM shuts both clusters down"

    async with served(folder, command="demo") as server:
        again = await server.ask(SEEN)
        for key in ("taskStats", "tasks", "connections"):
            assert again[key] == before[key]
        assert await run(server, shop, "SELECT count(*) FROM shop.reviews") == [["0"]]

    async with served(folder, "--reset", command="demo") as server:
        new = await server.ask(SEEN)
        assert new["taskStats"] == first["taskStats"]
        assert new["connections"]["nodes"][0]["id"] != shop
        shop = new["connections"]["nodes"][0]["id"]
        assert await run(server, shop, "SELECT count(*) > 0 FROM shop.reviews") == [[True]]


async def test_killed_demo_leaves_no_process_and_its_connection_follows_the_port(
    folder: Path, first: Any
) -> None:
    shop = first["connections"]["nodes"][0]["id"]
    async with served(folder, command="demo") as server:
        left = [psutil.Process(pid) for pid in clusters(folder)]
        await server.kill("server")
        _, alive = await asyncio.to_thread(psutil.wait_procs, left, timeout=PATIENCE_S)
        assert alive == []

    port = json.loads((folder / "demo.json").read_text())["shop_port"]
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        async with served(folder, command="demo") as server:
            assert await run(server, shop, "SELECT count(*) FROM shop.orders") == [["1500"]]
    assert json.loads((folder / "demo.json").read_text())["shop_port"] != port


async def test_interrupted_first_start_begins_anew(folder: Path, first: Any) -> None:
    (folder / "demo.json").write_text("{}")
    async with served(folder, command="demo") as server:
        seen = await server.ask(SEEN)
    assert seen["taskStats"] == first["taskStats"]
    assert len(seen["connections"]["nodes"]) == len(seen["buckets"]["nodes"]) == 1
    assert seen["connections"] != first["connections"]


async def test_demo_uses_no_folder_of_another_program(tmp_path: Path) -> None:
    kept = tmp_path / "objects" / "kept"
    kept.parent.mkdir()
    kept.write_text("precious")
    for options in ((), ("--reset",)):
        code, output, errors = await howdah("demo", *options, "--data-dir", str(tmp_path))
        assert (code, output) == (1, "")
        assert "not those of a demo" in errors
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [kept]

"""The example app docs/examples/urql in a real browser, against a real server and database."""

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.browser.conftest import RunScript, build_example, serve_folder
from tests.fixtures.served import Served, served
from tests.fixtures.targets import CANARY, Target

DEFAULT_API = "http://127.0.0.1:8000/graphql"


@pytest.fixture
async def short_lived_server(tmp_path: Path) -> AsyncIterator[Served]:
    """Its access tokens expire while the test works, as they do in a page that stays open."""
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    async with served(data_dir, HOWDAH_ACCESS_TOKEN_SECONDS="30") as server:
        yield server


@pytest.fixture
async def shop(target: Target) -> AsyncIterator[Target]:
    await target.script(
        "CREATE SCHEMA shop; CREATE TABLE shop.elephants (id int PRIMARY KEY, weight_kg numeric)"
    )
    yield target
    await target.script("DROP SCHEMA shop CASCADE")


async def test_urql_app_works_in_two_tabs(
    browser_tools: RunScript, short_lived_server: Served, shop: Target, tmp_path: Path
) -> None:
    page_folder = tmp_path / "page"
    shutil.copytree(await build_example("urql"), page_folder)
    index = page_folder / "index.html"
    index.write_text(index.read_text().replace(DEFAULT_API, short_lived_server.address))
    login = {"port": shop.port, "username": "ada", "password": CANARY}
    with serve_folder(page_folder) as page:
        await browser_tools("urql.mjs", page, short_lived_server.address, json.dumps(login))

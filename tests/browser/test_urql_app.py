"""The example app docs/examples/urql in a real browser, against a real server and database."""

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from db.security.keys import load_keys
from db.settings import load_settings
from tests.browser.conftest import RunScript, build_example, serve_folder
from tests.fixtures.served import served
from tests.fixtures.targets import CANARY, Target

DEFAULT_API = "http://127.0.0.1:8000/graphql"


@pytest.fixture
async def shop(target: Target) -> AsyncIterator[Target]:
    await target.script(
        "CREATE SCHEMA shop; CREATE TABLE shop.elephants (id int PRIMARY KEY, weight_kg numeric)"
    )
    yield target
    await target.script("DROP SCHEMA shop CASCADE")


async def test_urql_app_works_in_two_tabs(
    browser_tools: RunScript, shop: Target, tmp_path: Path
) -> None:
    built = await build_example("urql")
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    async with served(data_dir) as server:
        login = {"port": shop.port, "username": "ada", "password": CANARY}
        key = load_keys(load_settings(data_dir=data_dir)).secret.derive("access tokens").hex()
        with serve_folder(with_address(built, server.address, tmp_path / "page")) as page:
            await browser_tools("urql.mjs", page, server.address, key, json.dumps(login))


def with_address(built: Path, address: str, folder: Path) -> Path:
    """A copy of a built page that calls the server at this address."""
    shutil.copytree(built, folder)
    index = folder / "index.html"
    text = index.read_text()
    assert DEFAULT_API in text
    index.write_text(text.replace(DEFAULT_API, address))
    return folder

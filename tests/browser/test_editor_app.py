"""The example app docs/examples/editor, and the page that builds it."""

from collections.abc import AsyncIterator

import pytest

from tests.browser.conftest import RunScript, build_example, serve_folder
from tests.browser.example_apps import point_to
from tests.fixtures.served import Served
from tests.fixtures.targets import CANARY, Target

GARDEN = """
CREATE SCHEMA garden AUTHORIZATION ada;
CREATE TABLE garden.plants
  (id int PRIMARY KEY, name text NOT NULL, height numeric(6, 2), notes text);
INSERT INTO garden.plants
  SELECT i, CASE WHEN i % 10 = 0 THEN 'Rose ' ELSE 'Fern ' END || i, i / 4.0, repeat('green ', i)
  FROM generate_series(1, 120) AS i;
ALTER TABLE garden.plants OWNER TO ada;
ANALYZE garden.plants;
"""


@pytest.fixture
async def garden(target: Target) -> AsyncIterator[Target]:
    await target.script(GARDEN)
    yield target
    await target.script("DROP SCHEMA garden CASCADE")


async def test_editor_app_browses_completes_runs_edits_explains_saves_and_commits(
    browser_tools: RunScript, howdah_server: Served, garden: Target
) -> None:
    built = await build_example("editor")
    point_to(howdah_server, built / "index.html")
    with serve_folder(built) as address:
        await browser_tools(
            "editor.mjs",
            *("--page", address, "--howdah", howdah_server.address),
            *("--port", str(garden.port), "--password", CANARY),
        )

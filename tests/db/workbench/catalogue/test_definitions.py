"""Definitions recreate objects: pg_dump of the embedded PostgreSQL is the judge."""

import contextlib
from collections.abc import AsyncIterator
from difflib import unified_diff
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

import asyncpg
import pytest

from tests.fixtures.cluster import Cluster
from tests.fixtures.definitions import SampleDatabase, sample_database
from tests.fixtures.targets import POSTGRES, Target

HERE = Path(__file__).parent
SAMPLE = (HERE / "sample.sql").read_text()
SAMPLE_OF_18 = (HERE / "sample_of_18.sql").read_text()
ICU = """CREATE COLLATION app."Äquivalent"
(provider = icu, locale = 'de-u-co-phonebk', deterministic = false)"""
SERVER = 'CREATE SERVER "Files here" FOREIGN DATA WRAPPER file_fdw'
SHOP = files("db.demo").joinpath("shop.sql").read_text("utf-8")


@pytest.fixture(params=["embedded", "target"])
def server_url(request: pytest.FixtureRequest) -> str:
    """The address of a superuser: on the embedded server, and on an older version."""
    if request.param == "embedded":
        cluster: Cluster = request.getfixturevalue("cluster")
        return cluster.url
    target: Target = request.getfixturevalue("target")
    return f"postgresql://postgres:{quote(POSTGRES)}@127.0.0.1:{target.port}/postgres"


@pytest.fixture
async def sample(server_url: str) -> AsyncIterator[SampleDatabase]:
    async with sample_database(server_url, SAMPLE) as database:
        version = database.connection.get_server_version()
        if version >= (18,):
            await database.script(SAMPLE_OF_18)
        with contextlib.suppress(asyncpg.FeatureNotSupportedError):  # built without ICU
            await database.script(ICU)
        yield database


async def test_definitions_recreate_a_database_as_pg_dump_sees_it(
    sample: SampleDatabase, server_url: str
) -> None:
    wanted = await sample.whole()
    async with sample_database(server_url) as copy:
        await copy.replay([*wanted, SERVER])
        ours, original = await copy.dump(), await sample.dump()
    assert ours == original, _differences(original, ours)


async def test_definitions_recreate_the_demo_database(server_url: str) -> None:
    async with sample_database(server_url, SHOP) as shop, sample_database(server_url) as copy:
        await copy.replay(await shop.whole())
        ours, original = await copy.dump(), await shop.dump()
    assert ours == original, _differences(original, ours)


def _differences(original: list[str], ours: list[str]) -> str:
    before, after = ("\n".join(blocks).splitlines() for blocks in (original, ours))
    return "\n".join(unified_diff(before, after, "original", "copy", n=1, lineterm=""))

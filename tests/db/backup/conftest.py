"""What backups come from and go to."""

from collections.abc import AsyncIterator

import pytest

from db.objects.store import ObjectStore, open_objects
from db.postgres.embedded import EmbeddedPostgres
from tests.fixtures.database import _administer, _clone


@pytest.fixture
async def target_url(cluster: EmbeddedPostgres, template: str) -> AsyncIterator[str]:
    """A second database, migrated and empty."""
    url = await _clone(cluster)
    yield url
    name = url.rpartition("/")[2]
    await _administer(cluster, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> ObjectStore:
    return open_objects(None, data_dir=tmp_path_factory.mktemp("objects"))

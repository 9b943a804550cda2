"""Databases and object stores for backup tests."""

from collections.abc import AsyncIterator

import pytest

from db.objects.store import ObjectStore, open_objects
from tests.fixtures.cluster import Cluster
from tests.fixtures.database import _clone, _drop


@pytest.fixture
async def target_url(cluster: Cluster, template: str) -> AsyncIterator[str]:
    """A second database, migrated and empty."""
    url = await _clone(cluster)
    yield url
    await _drop(cluster, url)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> ObjectStore:
    return open_objects(None, data_dir=tmp_path_factory.mktemp("objects"))

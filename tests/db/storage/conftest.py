"""A pending file, and a folder for its bytes."""

from pathlib import Path

import pytest

from db.kit.base import OwnerId
from db.objects.store import ObjectStore, open_objects
from db.storage import FileRow, NewFile, StorageOperations
from tests.db.storage.byte_samples import DATA


@pytest.fixture
def folder(tmp_path: Path) -> ObjectStore:
    return open_objects(None, data_dir=tmp_path)


@pytest.fixture
async def pending(storage: StorageOperations, owner: OwnerId) -> FileRow:
    bucket = await storage.create_bucket(owner, "b", private=True)
    return await storage.create_file(owner, NewFile(bucket.id, "a.bin", len(DATA)))

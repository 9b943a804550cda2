"""Files beyond the quota, and deletions while the object store does not work."""

import dataclasses

import pytest

from db.services import Services
from db.storage import PostgresStorage, Quota
from tests.fixtures.clients import Client
from tests.fixtures.factories import make_bucket, make_file


@pytest.fixture
async def services(services: Services) -> Services:
    storage = PostgresStorage(services.database, quota=Quota(bytes=1_000))
    return dataclasses.replace(services, storage=storage)


async def test_create_file_beyond_the_quota_returns_no_upload_url(ada: Client) -> None:
    bucket = await make_bucket(ada)
    answer = await ada.send(
        "mutation($input: CreateFileInput!) { createFile(input: $input) { uploadUrl } }",
        input={"bucketId": bucket, "location": "a", "size": "1001"},
    )
    assert (answer.code, answer.data) == ("TOO_LARGE", {"createFile": None})


async def test_delete_file_succeeds_without_the_object_store(
    ada: Client, services: Services
) -> None:
    bucket = await make_bucket(ada)
    file = await make_file(ada, bucketId=bucket)
    objects = services.settings.data_dir / "objects"
    objects.rmdir()
    objects.write_text("a file in place of the folder")
    delete = "mutation($id: ID!) { deleteFile(input: {id: $id}) { deletedFileId } }"
    assert await ada.ask(delete, id=file) == {"deleteFile": {"deletedFileId": file}}
    counted = await ada.ask("query($id: ID!) { bucket(id: $id) { fileCount } }", id=bucket)
    assert counted == {"bucket": {"fileCount": 0}}

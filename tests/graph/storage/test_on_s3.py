"""Files with bytes on S3: uploads go through Howdah, downloads are redirected to S3."""

import base64
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from db.objects.store import ObjectStore
from db.services import Services
from db.settings import Settings
from db.storage import sweep
from tests.fixtures.clients import Client
from tests.fixtures.factories import make_bucket
from tests.fixtures.patience import PATIENCE_S
from tests.graph.storage.test_storage import CREATE_FILE

DATA = os.urandom(6_000_000)
FILE = "query($id: ID!) { file(id: $id) { status fingerprint downloadUrl } }"


@pytest.fixture
def settings(tmp_path: Path, s3_bucket: str) -> Settings:
    return Settings(
        env="development", data_dir=tmp_path, sign_up="open", objects_url=f"s3://{s3_bucket}/howdah"
    )


@pytest.fixture
def objects(services: Services) -> ObjectStore:
    return services.objects


async def download(client: Client, url: str, **headers: str) -> httpx.Response:
    """Follows the redirect to S3, as a browser does."""
    redirect = await client.http.get(url, headers=headers)
    assert (redirect.status_code, redirect.headers["cache-control"]) == (307, "no-store")
    async with httpx.AsyncClient(timeout=PATIENCE_S) as anyone:
        return await anyone.get(redirect.headers["location"], headers=headers)


async def test_file_on_s3_is_uploaded_and_downloaded_from_there(
    ada: Client, services: Services, half_written: Callable[[], list[str]]
) -> None:
    made = await ada.ask(
        "mutation($input: CreateFileInput!) "
        "{ createFile(input: $input) { file { id } uploadUrl } }",
        input={
            "bucketId": await make_bucket(ada),
            "location": "films/Dumbo «1941».bin",
            "size": str(len(DATA)),
            "contentType": "video/x-elephant",
        },
    )
    file_id, upload_url = made["createFile"]["file"]["id"], made["createFile"]["uploadUrl"]
    wrong = base64.b64encode(bytes(32)).decode()
    refused = await ada.http.put(upload_url, content=DATA, headers={"Digest": f"sha-256={wrong}"})
    assert refused.status_code == 400
    assert half_written() == []
    assert (await ada.http.put(upload_url, content=DATA)).status_code == 201
    file = (await ada.ask(FILE, id=file_id))["file"]
    assert file["fingerprint"] == hashlib.sha256(DATA).hexdigest()
    whole = await download(ada, file["downloadUrl"])
    part = await download(ada, file["downloadUrl"], Range="bytes=10-19")
    assert whole.content == DATA
    assert whole.headers["content-type"] == "video/x-elephant"
    assert "filename*=UTF-8''Dumbo%20%C2%AB1941%C2%BB.bin" in whole.headers["content-disposition"]
    assert (part.status_code, part.content) == (206, DATA[10:20])
    move = "mutation($input: MoveFileInput!) { moveFile(input: $input) { file { id } } }"
    await ada.ask(move, input={"id": file_id, "location": "films/Jumbo.bin"})
    renamed = (await ada.ask(FILE, id=file_id))["file"]["downloadUrl"]
    under_new_name = await ada.http.get(renamed)  # S3 would serve it under its first name
    assert 'filename="Jumbo.bin"' in under_new_name.headers["content-disposition"]
    assert under_new_name.content == DATA
    await ada.ask(
        "mutation($id: ID!) { deleteFile(input: {id: $id}) { deletedFileId } }", id=file_id
    )
    assert [batch async for batch in services.objects.list("files")] == []
    assert (await sweep(services)).deletions == 0


async def test_resumed_upload_to_s3_becomes_one_object(
    ada: Client, services: Services, half_written: Callable[[], list[str]]
) -> None:
    asked = {"bucketId": await make_bucket(ada), "location": "a.bin", "size": str(len(DATA))}
    made = (await ada.ask(CREATE_FILE, input=asked))["createFile"]
    headers = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}
    for start, end in ((0, 5_500_000), (5_500_000, len(DATA))):
        answer = await ada.http.patch(
            made["uploadUrl"],
            content=DATA[start:end],
            headers=headers | {"Upload-Offset": str(start)},
        )
        assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(end))
    file = (await ada.ask(FILE, id=made["file"]["id"]))["file"]
    assert file["fingerprint"] == hashlib.sha256(DATA).hexdigest()
    assert (await download(ada, file["downloadUrl"])).content == DATA
    objects = [one.key async for batch in services.objects.list("files") for one in batch]
    assert (len(objects), half_written()) == (1, [])

"""Moving files and replacing their bytes, through GraphQL and HTTP."""

import hashlib
from typing import Any

import httpx

from db.services import Services
from tests.fixtures.clients import Client
from tests.fixtures.factories import make_bsp, make_bucket, make_file
from tests.graph.storage.test_storage import put_file

FILE = """
query ($id: ID!) {
  file(id: $id) {
    version size fingerprint key location contentType downloadUrl uploadUrl
    bucket { id fileCount totalSize } replicas { bsp { id usedCapacity } }
  }
}
"""
MOVE = """
mutation ($input: MoveFileInput!) {
  moveFile(input: $input) { file { id version key location bucket { id } } }
}
"""
REPLACE = """
mutation ($input: ReplaceFileInput!) {
  replaceFile(input: $input) { file { id version size uploadUrl } uploadUrl }
}
"""
OLD, NEW = b"the old bytes", b"new ones"


async def read(client: Client, file_id: str) -> dict[str, Any]:
    file: dict[str, Any] = (await client.ask(FILE, id=file_id))["file"]
    return file


async def test_move_file_takes_its_bytes_and_counters_along(ada: Client, admin: Client) -> None:
    await make_bsp(admin)
    home, away = await make_bucket(ada), await make_bucket(ada)
    file = await put_file(ada, OLD, bucketId=home, desiredReplicas=1)
    to = {"id": file["id"], "bucketId": away, "location": "b/c.txt", "expectedVersion": 2}
    moved = (await ada.ask(MOVE, input=to))["moveFile"]["file"]
    assert (moved["bucket"]["id"], moved["location"], moved["version"]) == (away, "b/c.txt", 3)
    assert (await ada.ask(MOVE, input=to))["moveFile"]["file"] == moved
    now = await read(ada, file["id"])
    assert now["bucket"] == {"id": away, "fileCount": 1, "totalSize": str(len(OLD))}
    assert now["key"] == moved["key"] != file["key"]
    assert [one["bsp"]["usedCapacity"] for one in now["replicas"]] == [str(len(OLD))]
    downloaded = await ada.http.get(now["downloadUrl"])
    assert downloaded.content == OLD
    assert 'filename="c.txt"' in downloaded.headers["content-disposition"]
    count = await ada.ask("query($id: ID!) { bucket(id: $id) { fileCount } }", id=home)
    assert count == {"bucket": {"fileCount": 0}}


async def test_move_file_to_a_location_in_use_is_a_conflict(ada: Client) -> None:
    bucket = await make_bucket(ada)
    await make_file(ada, bucketId=bucket, location="taken")
    file = await make_file(ada, bucketId=bucket)
    refused: list[tuple[dict[str, Any], str, str]] = [
        ({"location": "taken"}, "CONFLICT", "location"),
        ({"location": "x", "expectedVersion": 7}, "CONFLICT", "expectedVersion"),
        ({"location": None}, "BAD_USER_INPUT", "location"),
        ({"bucketId": None}, "BAD_USER_INPUT", "bucketId"),
    ]
    for values, code, field in refused:
        answer = await ada.send(MOVE, input={"id": file} | values)
        assert (answer.code, answer.errors[0]["extensions"]["field"]) == (code, field)


async def test_replace_file_serves_the_old_bytes_until_the_new_are_whole(
    ada: Client, bob: Client
) -> None:
    bucket = await make_bucket(ada, private=False)
    file = await put_file(ada, OLD, bucketId=bucket, contentType="text/plain")
    asked = {"id": file["id"], "size": str(len(NEW)), "contentType": "text/csv"}
    begun = (await ada.ask(REPLACE, input=asked | {"expectedVersion": 2}))["replaceFile"]
    url = begun["uploadUrl"]
    assert begun["file"]["version"] == 2
    assert httpx.URL(begun["file"]["uploadUrl"]).path == httpx.URL(url).path
    assert (await read(bob, file["id"]))["uploadUrl"] is None
    assert (await ada.http.put(url, content=NEW[:-1])).status_code == 400
    before = await read(ada, file["id"])
    assert (before["size"], before["contentType"]) == (str(len(OLD)), "text/plain")
    assert (await ada.http.get(before["downloadUrl"])).content == OLD
    assert (await ada.http.put(url, content=NEW)).status_code == 201
    after = await read(ada, file["id"])
    assert (after["version"], after["uploadUrl"]) == (3, None)
    assert (after["size"], after["contentType"]) == (str(len(NEW)), "text/csv")
    assert after["fingerprint"] == hashlib.sha256(NEW).hexdigest()
    assert after["bucket"]["totalSize"] == str(len(NEW))
    downloaded = await ada.http.get(after["downloadUrl"])
    assert (downloaded.content, downloaded.headers["content-type"]) == (NEW, "text/csv")
    assert (await ada.http.put(url, content=NEW)).status_code == 409


async def test_later_replace_file_cancels_an_earlier_one(ada: Client) -> None:
    file = await put_file(ada, OLD)
    asked = {"id": file["id"], "size": str(len(NEW))}
    first = (await ada.ask(REPLACE, input=asked))["replaceFile"]["uploadUrl"]
    second = (await ada.ask(REPLACE, input=asked))["replaceFile"]["uploadUrl"]
    refused = await ada.http.put(first, content=NEW)
    assert (refused.status_code, "replacement" in refused.text) == (409, True)
    assert (await ada.http.put(second, content=NEW)).status_code == 201


async def test_link_of_a_replacement_opens_nothing_else(ada: Client, services: Services) -> None:
    file, other = await put_file(ada, OLD), await put_file(ada, OLD)
    asked = {"id": file["id"], "size": str(len(NEW))}
    url = httpx.URL((await ada.ask(REPLACE, input=asked))["replaceFile"]["uploadUrl"])
    file_part, replacement = url.path.removeprefix("/files/").split("/")
    other_part = other["id"].removeprefix("file_")
    for path in (f"/files/{other_part}/{replacement}", f"/files/{file_part}"):
        answer = await ada.http.put(url.copy_with(path=path), content=NEW)
        assert answer.status_code == 403
    pending = await make_file(ada)
    assert (await ada.send(REPLACE, input=asked | {"id": pending})).code == "CONFLICT"

import hashlib
from typing import Any

import httpx
import pytest

from db.services import Services
from tests.fixtures.clients import Client
from tests.fixtures.database import Statements
from tests.fixtures.factories import make_bsp, make_bucket, make_file

CREATE_FILE = """
mutation ($input: CreateFileInput!) {
  createFile(input: $input) { file { id status key fingerprint } uploadUrl }
}
"""
FILE = """
query ($id: ID!) {
  file(id: $id) {
    id key bucket { id name fileCount totalSize } location size fingerprint contentType status
    desiredReplicas replicas { bsp { id usedCapacity freeCapacity } }
    createdAt updatedAt downloadUrl
  }
}
"""
WIDE = """
query ($first: Int!) {
  buckets(first: 50) {
    nodes {
      name fileCount
      files(first: $first) {
        totalCount pageInfo { hasNextPage }
        nodes {
          location bucket { name } replicas { bsp { account files(first: 1) { totalCount } } }
        }
      }
    }
  }
}
"""


async def put_file(client: Client, data: bytes, **values: Any) -> dict[str, Any]:
    """Uploads a file and returns it as `file` does."""
    bucket = values.pop("bucketId", None) or await make_bucket(client)
    asked = {"bucketId": bucket, "location": "a.txt", "size": str(len(data))} | values
    made = (await client.ask(CREATE_FILE, input=asked))["createFile"]
    answer = await client.http.put(made["uploadUrl"], content=data)
    assert answer.status_code == 201, answer.text
    file: dict[str, Any] = (await client.ask(FILE, id=made["file"]["id"]))["file"]
    return file


async def test_file_is_created_uploaded_downloaded_and_deleted(ada: Client, admin: Client) -> None:
    bsp = await make_bsp(admin, capacity=str(2**53 + 1))
    bucket = await make_bucket(ada, name="reports")
    data = b"hello"
    file = await put_file(
        ada,
        data,
        bucketId=bucket,
        location="2026/May.txt",
        contentType="text/plain",
        desiredReplicas=1,
    )
    assert file["status"] == "STORED"
    assert file["fingerprint"] == hashlib.sha256(data).hexdigest()
    assert len(file["key"]) == 64
    assert (file["size"], file["location"], file["contentType"]) == (
        "5",
        "2026/May.txt",
        "text/plain",
    )
    assert file["bucket"] == {"id": bucket, "name": "reports", "fileCount": 1, "totalSize": "5"}
    kept = {"id": bsp, "usedCapacity": "5", "freeCapacity": str(2**53 - 4)}
    assert file["replicas"] == [{"bsp": kept}]
    by_key = await ada.ask("query($key: String!) { fileByKey(key: $key) { id } }", key=file["key"])
    assert by_key == {"fileByKey": {"id": file["id"]}}
    got = await ada.http.get(file["downloadUrl"])
    assert (got.status_code, got.content) == (200, data)
    gone = await ada.ask(
        "mutation($id: ID!) { deleteFile(input: {id: $id}) { deletedFileId } }", id=file["id"]
    )
    assert gone == {"deleteFile": {"deletedFileId": file["id"]}}
    assert (await ada.ask(FILE, id=file["id"])) == {"file": None}
    assert (await ada.http.get(file["downloadUrl"])).status_code == 404
    left = await ada.ask("query($id: ID!) { bsp(id: $id) { usedCapacity } }", id=bsp)
    assert left == {"bsp": {"usedCapacity": "0"}}


async def test_pending_file_has_no_key_and_no_download_url(ada: Client) -> None:
    file = (await ada.ask(FILE, id=await make_file(ada)))["file"]
    assert (file["status"], file["size"]) == ("PENDING", "5")
    assert (file["key"], file["fingerprint"], file["downloadUrl"]) == (None, None, None)


async def test_upload_url_is_shown_to_the_owner_of_a_pending_file(ada: Client, bob: Client) -> None:
    read = "query($id: ID!) { file(id: $id) { status uploadUrl } }"
    bucket = await make_bucket(ada, private=False)
    file_id = await make_file(ada, bucketId=bucket)
    assert await bob.ask(read, id=file_id) == {"file": {"status": "PENDING", "uploadUrl": None}}
    url = (await ada.ask(read, id=file_id))["file"]["uploadUrl"]
    assert (await ada.http.put(url, content=b"x" * 5)).status_code == 201
    assert await ada.ask(read, id=file_id) == {"file": {"status": "STORED", "uploadUrl": None}}


async def test_upload_url_has_the_host_of_the_request(ada: Client) -> None:
    asked = {"bucketId": await make_bucket(ada), "location": "a", "size": "1"}
    made = (await ada.ask(CREATE_FILE, input=asked))["createFile"]
    assert httpx.URL(made["uploadUrl"]).host == ada.http.base_url.host


@pytest.mark.parametrize("version", [{}, {"expectedVersion": 1}])
async def test_update_bucket_without_changes_refuses_public_bucket_of_other_user(
    ada: Client, bob: Client, version: dict[str, int]
) -> None:
    update = (
        "mutation($input: UpdateBucketInput!) { updateBucket(input: $input) { bucket { id } } }"
    )
    bucket = await make_bucket(ada, private=False)
    assert (await bob.send(update, input={"id": bucket} | version)).code == "FORBIDDEN"
    assert (await ada.send(update, input={"id": bucket} | version)).code == "OK"


async def test_bucket_is_updated_and_deleted_with_its_files(ada: Client, bob: Client) -> None:
    bucket = await make_bucket(ada, name="one")
    update = (
        "mutation($input: UpdateBucketInput!) "
        "{ updateBucket(input: $input) { bucket { name version private } } }"
    )
    changes = {"id": bucket, "name": "two", "private": False, "expectedVersion": 1}
    updated = await ada.ask(update, input=changes)
    assert updated["updateBucket"]["bucket"] == {"name": "two", "version": 2, "private": False}
    assert (await ada.send(update, input=changes)).code == "CONFLICT"
    read = "query($id: ID!) { bucket(id: $id) { name } }"
    assert await bob.ask(read, id=bucket) == {"bucket": {"name": "two"}}
    for field in ("name", "private"):
        refused = await ada.send(update, input={"id": bucket, field: None})
        assert refused.errors[0]["extensions"]["field"] == field
    await ada.ask(update, input={"id": bucket, "private": True})
    assert await bob.ask(read, id=bucket) == {"bucket": None}
    await make_file(ada, bucketId=bucket)
    delete = (
        "mutation($input: DeleteBucketInput!) { deleteBucket(input: $input) { deletedBucketId } }"
    )
    assert (await ada.send(delete, input={"id": bucket})).code == "CONFLICT"
    gone = await ada.ask(delete, input={"id": bucket, "withFiles": True})
    assert gone == {"deleteBucket": {"deletedBucketId": bucket}}
    assert await ada.ask("{ buckets(first: 1) { totalCount } files(first: 1) { totalCount } }") == {
        "buckets": {"totalCount": 0},
        "files": {"totalCount": 0},
    }


async def test_bucket_files_under_a_folder_are_listed_and_counted(ada: Client) -> None:
    bucket = await make_bucket(ada)
    for location in ("a/1", "a/b/2", "ab/3", "a"):
        await make_file(ada, bucketId=bucket, location=location)
    asked = """query($id: ID!, $under: String, $after: String) {
      bucket(id: $id) {
        files(first: 1, after: $after, under: $under) {
          nodes { location } totalCount pageInfo { endCursor hasNextPage }
        }
      }
    }"""
    first = (await ada.ask(asked, id=bucket, under="a/"))["bucket"]["files"]
    assert (first["nodes"], first["totalCount"]) == ([{"location": "a/1"}], 2)
    after = first["pageInfo"]["endCursor"]
    second = (await ada.ask(asked, id=bucket, under="a/", after=after))["bucket"]["files"]
    assert second["nodes"] == [{"location": "a/b/2"}]
    assert second["pageInfo"]["hasNextPage"] is False
    assert (await ada.send(asked, id=bucket, under="../etc")).code == "BAD_USER_INPUT"


async def test_public_bucket_is_readable_by_every_signed_in_user(
    ada: Client, bob: Client, anonymous: Client
) -> None:
    bucket = await make_bucket(ada, private=False)
    file = await put_file(ada, b"for all", bucketId=bucket)
    seen = (await bob.ask(FILE, id=file["id"]))["file"]
    assert seen["bucket"]["id"] == bucket
    assert (await bob.http.get(seen["downloadUrl"])).content == b"for all"
    assert (await anonymous.send(FILE, id=file["id"])).code == "UNAUTHENTICATED"
    hidden = await put_file(ada, b"for me")
    assert (await bob.ask(FILE, id=hidden["id"])) == {"file": None}
    by_key = await bob.ask(
        "query($key: String!) { fileByKey(key: $key) { id } }", key=hidden["key"]
    )
    assert by_key == {"fileByKey": None}


@pytest.mark.parametrize(
    ("mutation", "values"),
    [
        ("createBsp", {"account": "x", "capacity": "1", "multiaddresses": []}),
        ("updateBspCapacity", {"capacity": "1"}),
        ("setBspMultiaddresses", {"multiaddresses": []}),
        ("deleteBsp", {}),
    ],
)
async def test_bsp_mutations_require_an_admin(
    ada: Client, admin: Client, anonymous: Client, mutation: str, values: dict[str, Any]
) -> None:
    bsp = await make_bsp(admin)
    title = mutation[0].upper() + mutation[1:]
    document = f"mutation($input: {title}Input!) {{ {mutation}(input: $input) {{ __typename }} }}"
    asked = values if mutation == "createBsp" else {"id": bsp} | values
    assert (await ada.send(document, input=asked)).code == "FORBIDDEN"
    assert (await anonymous.send(document, input=asked)).code == "UNAUTHENTICATED"
    assert (await admin.send(document, input=asked)).code == "OK"


async def test_update_bsp_capacity_error_says_how_much_is_used(admin: Client) -> None:
    bsp = await make_bsp(admin)
    await make_file(admin, size="700", desiredReplicas=1)
    shrink = 'updateBspCapacity(input: {id: $id, capacity: "699"}) { bsp { capacity } }'
    answer = await admin.send(f"mutation($id: ID!) {{ {shrink} }}", id=bsp)
    assert answer.code == "CONFLICT"
    assert "700" in answer.message


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"location": "../../etc/passwd"}, "location"),
        ({"size": "-1"}, "size"),
        ({"size": "9223372036854775808"}, "size"),
        ({"contentType": "text/html\r\nSet-Cookie: a=b"}, "contentType"),
        ({"desiredReplicas": 21}, "desiredReplicas"),
        ({"bucketId": "task_00000000000000000000000000000000"}, "bucketId"),
    ],
)
async def test_create_file_error_names_the_invalid_field(
    ada: Client, values: dict[str, Any], field: str
) -> None:
    asked = {"bucketId": await make_bucket(ada), "location": "a", "size": "1"} | values
    answer = await ada.send(CREATE_FILE, input=asked)
    assert answer.code == "BAD_USER_INPUT"
    assert answer.errors[0]["extensions"]["field"] == field


@pytest.mark.parametrize("key", ["", "zz", "A" * 64, "0" * 63])
async def test_file_by_key_rejects_invalid_keys(ada: Client, key: str) -> None:
    answer = await ada.send("query($key: String!) { fileByKey(key: $key) { id } }", key=key)
    assert answer.code == "BAD_USER_INPUT"


async def test_nested_lists_run_one_statement_per_level(
    ada: Client, admin: Client, services: Services
) -> None:
    """Levels: buckets, files, counts, buckets of files, replicas, providers, counts."""
    await make_bsp(admin, capacity="100000")
    await make_bsp(admin, capacity="100000")
    sent = Statements()
    counts = []
    for width in (1, 4):
        for _ in range(width):
            bucket = await make_bucket(ada)
            for number in range(width + 1):
                await make_file(ada, bucketId=bucket, location=f"{number}", desiredReplicas=2)
        services.database.observe = sent.append
        before = len(sent)
        found = await ada.ask(WIDE, first=width)
        counts.append(len(sent) - before)
        services.database.observe = None
        assert all(
            node["files"]["pageInfo"]["hasNextPage"] for node in found["buckets"]["nodes"][:1]
        )
    statements = [sql for sql in sent if "users" not in sql and "sessions" not in sql]
    assert counts[0] == counts[1]
    assert len(statements) <= 2 * 8, "\n".join(statements)


@pytest.mark.parametrize("bad", ["first: -1", 'first: 5, after: "junk"'])
async def test_invalid_list_argument_fails_only_its_field(ada: Client, bad: str) -> None:
    bucket = await make_bucket(ada)
    query = f"""query($id: ID!) {{
      x: bucket(id: $id) {{
        bad: files({bad}) {{ totalCount }} good: files(first: 5) {{ totalCount }}
      }}
      y: bucket(id: $id) {{ good: files(first: 5) {{ totalCount }} }}
    }}"""
    answer = await ada.send(query, id=bucket)
    assert answer.data == {"x": None, "y": {"good": {"totalCount": 0}}}
    (error,) = answer.errors
    assert error["path"] == ["x", "bad"]


async def test_bucket_lists_folders_and_files_of_one_level(ada: Client, bob: Client) -> None:
    bucket = await make_bucket(ada, private=False)
    for location in ("top", "a/1", "a/b/2", "a-/3"):
        await make_file(ada, bucketId=bucket, location=location)
    asked = """query($id: ID!, $under: String, $after: String) {
      bucket(id: $id) {
        folders(first: 1, after: $after, under: $under) {
          nodes { name path } totalCount pageInfo { endCursor hasNextPage }
        }
        files(first: 9, under: $under, recursive: false) { nodes { name location } totalCount }
      }
    }"""
    root = (await bob.ask(asked, id=bucket))["bucket"]
    assert root["folders"]["nodes"] == [{"name": "a-", "path": "a-"}]
    assert root["folders"]["totalCount"] == 2
    assert root["files"] == {"nodes": [{"name": "top", "location": "top"}], "totalCount": 1}
    after = root["folders"]["pageInfo"]["endCursor"]
    rest = (await ada.ask(asked, id=bucket, after=after))["bucket"]["folders"]
    assert (rest["nodes"], rest["pageInfo"]["hasNextPage"]) == ([{"name": "a", "path": "a"}], False)
    below = (await ada.ask(asked, id=bucket, under="a"))["bucket"]
    assert below["folders"]["nodes"] == [{"name": "b", "path": "a/b"}]
    assert [file["name"] for file in below["files"]["nodes"]] == ["1"]
    assert (await ada.send(asked, id=bucket, under="../etc")).code == "BAD_USER_INPUT"

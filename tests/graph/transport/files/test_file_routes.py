import asyncio
import base64
import hashlib
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, NamedTuple

import httpx
import pytest
from starlette.applications import Starlette

from db.kit.base import new_id
from db.objects.store import ObjectStore
from db.services import Services
from graph.kit.ids import parse_id
from graph.kit.signed_links import Links
from graph.transport.files.file_routes import file_path
from graph.transport.files.uploads import UPLOADS_OF_ONE_USER, Uploads
from tests.fixtures.clients import Client
from tests.fixtures.factories import make_bucket
from tests.fixtures.patience import PATIENCE_S
from tests.fixtures.toy import serving

DATA = os.urandom(2_500_000)
DIGEST = base64.b64encode(hashlib.sha256(DATA).digest()).decode()
WRONG = base64.b64encode(bytes(32)).decode()


class Made(NamedTuple):
    """A pending file and its upload URL."""

    id: str
    upload_url: str


async def make(client: Client, size: int = len(DATA), **values: Any) -> Made:
    bucket = values.pop("bucketId", None) or await make_bucket(client)
    made = await client.ask(
        "mutation($input: CreateFileInput!) "
        "{ createFile(input: $input) { file { id } uploadUrl } }",
        input={"bucketId": bucket, "location": "a.bin", "size": str(size)} | values,
    )
    return Made(made["createFile"]["file"]["id"], made["createFile"]["uploadUrl"])


async def shown(client: Client, made: Made) -> dict[str, Any]:
    found = await client.ask(
        "query($id: ID!) { file(id: $id) { status fingerprint key downloadUrl } }", id=made.id
    )
    file: dict[str, Any] = found["file"]
    return file


async def stored(client: Client, data: bytes = DATA, **values: Any) -> str:
    made = await make(client, len(data), **values)
    assert (await client.http.put(made.upload_url, content=data)).status_code == 201
    return str((await shown(client, made))["downloadUrl"])


def error_of(answer: httpx.Response) -> dict[str, Any]:
    extensions: dict[str, Any] = answer.json()["errors"][0]["extensions"]
    assert extensions["hint"]
    assert extensions["requestId"]
    return extensions


async def keys(objects: ObjectStore) -> list[str]:
    return [one.key async for batch in objects.list("files") for one in batch]


# Up


async def test_upload_returns_summary(ada: Client) -> None:
    made = await make(ada)
    answer = await ada.http.put(made.upload_url, content=DATA)
    assert answer.status_code == 201
    file = await shown(ada, made)
    assert file["status"] == "STORED"
    assert answer.json() == {
        "size": str(len(DATA)),
        "fingerprint": file["fingerprint"],
        "key": file["key"],
    }
    assert answer.headers["etag"] == f'"{file["fingerprint"]}"'


async def test_upload_accepts_chunks(ada: Client) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(DATA), 70_000):
            yield DATA[start : start + 70_000]

    made = await make(ada)
    assert (await ada.http.put(made.upload_url, content=chunks())).status_code == 201
    assert (await shown(ada, made))["fingerprint"] == hashlib.sha256(DATA).hexdigest()


@pytest.mark.parametrize(
    "headers",
    [
        {"Digest": f"SHA-256={DIGEST}"},
        {"Digest": f"md5=abc, sha-256={DIGEST}"},
        {"Content-Digest": f"sha-256=:{DIGEST}:"},
        {"Content-Digest": f"sha-512=:{WRONG}:, sha-256=:{DIGEST}:"},
        {"Repr-Digest": f"sha-256=:{DIGEST}:"},
        {"Digest": "unixsum=30637"},
    ],
)
async def test_upload_accepts_right_digest(ada: Client, headers: dict[str, str]) -> None:
    made = await make(ada)
    answer = await ada.http.put(made.upload_url, content=DATA, headers=headers)
    assert answer.status_code == 201


@pytest.mark.parametrize(
    "headers",
    [
        {"Digest": f"SHA-256={WRONG}"},
        {"Content-Digest": f"sha-256=:{WRONG}:"},
        {"Repr-Digest": f"sha-256=:{WRONG}:"},
        {"Content-Digest": f"sha-256=:{DIGEST}:", "Digest": f"sha-256={WRONG}"},
        {"Digest": "sha-256=nonsense"},
        {"Content-Encoding": "gzip"},
        {"Content-Range": f"bytes 0-{len(DATA) - 1}/{len(DATA)}"},
        {"Content-Length": "7"},
    ],
)
async def test_upload_refuses_invalid_request(
    ada: Client, services: Services, headers: dict[str, str]
) -> None:
    made = await make(ada)
    content = DATA[:7] if "Content-Length" in headers else DATA
    answer = await ada.http.put(made.upload_url, content=content, headers=headers)
    assert answer.status_code == 400
    assert error_of(answer)["code"] == "BAD_USER_INPUT"
    assert (await shown(ada, made))["status"] == "PENDING"
    assert await keys(services.objects) == []


async def test_upload_without_length_stops_at_file_size(ada: Client, services: Services) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1_000):
            sent += 65_536
            yield bytes(65_536)

    made = await make(ada, 100_000)
    answer = await ada.http.put(made.upload_url, content=endless())
    assert answer.status_code == 400
    assert await keys(services.objects) == []


async def test_upload_is_accepted_once(ada: Client) -> None:
    made = await make(ada)
    assert (await ada.http.put(made.upload_url, content=DATA)).status_code == 201
    again = await ada.http.put(made.upload_url, content=DATA)
    assert (again.status_code, error_of(again)["code"]) == (409, "CONFLICT")


async def test_fifth_upload_of_user_waits_for_its_turn() -> None:
    slots, flood, other = Uploads().slots, new_id(), new_id()
    for _ in range(UPLOADS_OF_ONE_USER):
        await slots.acquire(flood)
    fifth = asyncio.create_task(slots.acquire(flood))
    await slots.acquire(other)
    await asyncio.sleep(0)
    assert not fifth.done()
    slots.release(flood)
    await asyncio.wait_for(fifth, PATIENCE_S)


async def test_upload_aborted_by_client_leaves_file_pending(
    ada: Client, app: Starlette, services: Services
) -> None:
    made = await make(ada)
    target = httpx.URL(made.upload_url).raw_path.decode()
    async with serving(app) as server:
        host, _, port = server.address.partition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        head = f"PUT {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(DATA)}\r\n\r\n"
        writer.write(head.encode() + DATA[:2_000_000])
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    (file,) = await services.storage.known_files([parse_id("file", made.id)])
    assert file.status == "PENDING"
    assert await keys(services.objects) == []
    assert list((services.settings.data_dir / "objects").rglob("*#*")) == []


# Links


async def test_link_is_valid_for_its_file_method_and_time(ada: Client, services: Services) -> None:
    made, other = await make(ada), await make(ada)
    link, foreign = httpx.URL(made.upload_url), httpx.URL(other.upload_url)
    forged = [
        link.copy_with(path=foreign.path),
        link.copy_merge_params({"expires": str(int(link.params["expires"]) + 1)}),
        link.copy_merge_params({"expires": ""}),
        link.copy_merge_params({"signature": "é"}),
        link.copy_remove_param("signature"),
        link.copy_with(query=None),
    ]
    for url in forged:
        answer = await ada.http.put(url, content=DATA)
        assert (answer.status_code, error_of(answer)["code"]) == (403, "FORBIDDEN")
    assert (await ada.http.get(link)).status_code == 403
    path = file_path(parse_id("file", made.id))
    expired = Links(services.keys).sign("PUT", path, expires_in=timedelta(seconds=-1))
    answer = await ada.http.put(expired, content=DATA)
    assert answer.status_code == 403
    assert "expired" in answer.json()["errors"][0]["message"]
    assert (await ada.http.put(link, content=DATA)).status_code == 201


async def test_link_for_upload_does_not_download(ada: Client) -> None:
    download = await stored(ada)
    assert (await ada.http.put(download, content=DATA)).status_code == 403
    assert (await ada.http.post(download)).status_code == 405


# Down


async def test_download_sends_bytes_with_safe_headers(ada: Client) -> None:
    url = await stored(ada, location="reports/Mai «é».html", contentType="text/html")
    answer = await ada.http.get(url)
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["content-type"] == "text/html"
    assert answer.headers["content-length"] == str(len(DATA))
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert "filename*=UTF-8''Mai%20%C2%AB%C3%A9%C2%BB.html" in answer.headers["content-disposition"]
    head = await ada.http.head(url)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(DATA))


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        ("bytes=1048570-1048585", 1048570, 1048586),
        ("bytes=2499999-", 2_499_999, 2_500_000),
        ("bytes=-1", 2_499_999, 2_500_000),
        ("bytes=-9999999", 0, 2_500_000),
        ("bytes=10-99999999", 10, 2_500_000),
        ("bytes=0-", 0, 2_500_000),
    ],
)
async def test_download_sends_requested_range(
    ada: Client, asked: str, start: int, end: int
) -> None:
    url = await stored(ada)
    answer = await ada.http.get(url, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, DATA[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(DATA)}"
    assert answer.headers["content-length"] == str(end - start)


@pytest.mark.parametrize("asked", ["bytes=2500000-", "bytes=-0", "bytes=9999999-99999999"])
async def test_download_refuses_range_beyond_end(ada: Client, asked: str) -> None:
    answer = await ada.http.get(await stored(ada), headers={"Range": asked})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(DATA)}"


@pytest.mark.parametrize(
    "asked",
    ["bytes=9-5", "bytes=-", "bytes=a-b", "lines=1-2", "bytes=0-1,5-6", "bytes=" + "9" * 99],
)
async def test_download_ignores_invalid_ranges(ada: Client, asked: str) -> None:
    answer = await ada.http.get(await stored(ada), headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, DATA)


async def test_download_is_not_modified_for_known_etag(ada: Client) -> None:
    url = await stored(ada)
    tag = (await ada.http.head(url)).headers["etag"]
    for known in (tag, f'W/{tag}, "x"', "*"):
        answer = await ada.http.get(url, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content) == (304, b"")
    assert (await ada.http.get(url, headers={"If-None-Match": '"x"'})).status_code == 200
    half = {"Range": "bytes=0-1"}
    assert (await ada.http.get(url, headers=half | {"If-Range": tag})).status_code == 206
    assert (await ada.http.get(url, headers=half | {"If-Range": '"x"'})).status_code == 200


async def test_download_of_empty_file_is_empty(ada: Client) -> None:
    url = await stored(ada, b"")
    answer = await ada.http.get(url)
    assert (answer.status_code, answer.content) == (200, b"")
    assert (await ada.http.get(url, headers={"Range": "bytes=0-"})).status_code == 416


async def test_download_of_lost_bytes_fails_before_response(
    ada: Client, services: Services
) -> None:
    url = await stored(ada)
    await services.objects.delete(await keys(services.objects))
    answer = await ada.http.get(url)
    assert (answer.status_code, error_of(answer)["code"]) == (404, "NOT_FOUND")


async def test_download_masks_unexpected_error(
    ada: Client, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    made = await make(ada)
    (services.settings.data_dir / "objects").rmdir()
    (services.settings.data_dir / "objects").write_text("a file where a folder was")
    answer = await ada.http.put(made.upload_url, content=DATA)
    assert answer.status_code in {500, 503}
    assert str(services.settings.data_dir) not in answer.text

"""The upload URL as a tus server: offsets, interruptions, two replicas, checksums, termination."""

import asyncio
import base64
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from db.services import Services
from db.storage import sweep
from graph.transport.files.uploads import UPLOADS_OF_ONE_USER
from tests.fixtures.clients import Client
from tests.fixtures.factories import make_bucket
from tests.fixtures.patience import PATIENCE_S, patience
from tests.fixtures.replicas import AddUser, OpenReplica
from tests.fixtures.toy import serving
from tests.graph.storage.test_changes import REPLACE
from tests.graph.storage.test_storage import put_file
from tests.graph.transport.files.test_file_routes import Made, error_of, keys, make, shown

DATA = os.urandom(300_000)
TUS = {"Tus-Resumable": "1.0.0"}
BYTES = TUS | {"Content-Type": "application/offset+octet-stream"}


async def patch(
    http: httpx.AsyncClient, url: str, offset: int, data: bytes | AsyncIterator[bytes], **more: str
) -> httpx.Response:
    headers = (
        BYTES | {"Upload-Offset": str(offset)} | {k.replace("_", "-"): v for k, v in more.items()}
    )
    return await http.patch(url, content=data, headers=headers)


async def offset_of(http: httpx.AsyncClient, url: str) -> int:
    answer = await http.head(url, headers=TUS)
    assert answer.status_code == 200
    assert (answer.headers["cache-control"], answer.headers["tus-resumable"]) == (
        "no-store",
        "1.0.0",
    )
    return int(answer.headers["upload-offset"])


async def test_tus_upload_in_two_parts_stores_the_file(ada: Client, services: Services) -> None:
    made = await make(ada, len(DATA))
    head = await ada.http.head(made.upload_url, headers=TUS)
    assert (head.headers["upload-offset"], head.headers["upload-length"]) == ("0", str(len(DATA)))
    first = await patch(ada.http, made.upload_url, 0, DATA[:100_000])
    assert (first.status_code, first.headers["upload-offset"]) == (204, "100000")
    assert first.headers["upload-expires"].endswith("GMT")
    assert await offset_of(ada.http, made.upload_url) == 100_000
    assert (await shown(ada, made))["status"] == "PENDING"
    last = await patch(ada.http, made.upload_url, 100_000, DATA[100_000:])
    assert (last.status_code, last.headers["upload-offset"]) == (204, str(len(DATA)))
    file = await shown(ada, made)
    assert (file["status"], file["fingerprint"]) == ("STORED", hashlib.sha256(DATA).hexdigest())
    assert (await ada.http.get(file["downloadUrl"])).content == DATA
    assert await offset_of(ada.http, made.upload_url) == len(DATA)
    assert len(await keys(services.objects)) == 1
    again = await patch(ada.http, made.upload_url, len(DATA), b"")
    assert (again.status_code, again.headers["upload-offset"]) == (204, str(len(DATA)))


async def test_tus_patch_with_a_wrong_offset_or_length_changes_nothing(ada: Client) -> None:
    made = await make(ada, 10)
    assert (await patch(ada.http, made.upload_url, 0, b"12345")).status_code == 204
    for offset in (0, 4, 6, 10, 11):
        refused = await patch(ada.http, made.upload_url, offset, b"x")
        assert (refused.status_code, error_of(refused)["code"]) == (409, "CONFLICT")
    assert (await patch(ada.http, made.upload_url, 5, b"678901")).status_code == 413

    async def chunked() -> AsyncIterator[bytes]:
        yield b"678901"

    assert (await patch(ada.http, made.upload_url, 5, chunked())).status_code == 413
    assert await offset_of(ada.http, made.upload_url) == 5
    assert (await patch(ada.http, made.upload_url, 5, b"67890")).status_code == 204
    assert (await shown(ada, made))["status"] == "STORED"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Tus-Resumable": "0.2.2"}, 412),
        ({"Content-Type": "application/octet-stream"}, 415),
        ({"Upload-Offset": "-1"}, 400),
        ({"Upload-Offset": "\u0661".encode().decode("latin-1")}, 400),
        ({"Upload-Checksum": "md5 abc="}, 400),
        ({"Upload-Checksum": "sha1 abc"}, 400),
        ({"Content-Encoding": "gzip"}, 400),
        ({"X-HTTP-Method-Override": "PUT"}, 405),
    ],
)
async def test_tus_request_that_cannot_be_used_is_refused(
    ada: Client, headers: dict[str, str], status: int
) -> None:
    made = await make(ada, 1)
    sent = httpx.Headers(BYTES | {"Upload-Offset": "0"} | headers, encoding="latin-1")
    refused = await ada.http.patch(made.upload_url, content=b"x", headers=sent)
    assert (refused.status_code, refused.headers["tus-resumable"]) == (status, "1.0.0")
    assert error_of(refused)["hint"]
    assert await offset_of(ada.http, made.upload_url) == 0


async def test_tus_link_needs_its_signature(ada: Client) -> None:
    made = await make(ada, 1)
    forged = httpx.URL(made.upload_url).copy_merge_params({"signature": "x"})
    for method in ("HEAD", "PATCH", "DELETE"):
        headers = BYTES | {"Upload-Offset": "0"}
        assert (await ada.http.request(method, forged, headers=headers)).status_code == 403
    file = await put_file(ada, b"content")
    read_only = file["downloadUrl"]
    assert (await ada.http.head(read_only, headers=TUS)).status_code == 403
    assert (await ada.http.delete(read_only, headers=TUS)).status_code == 403
    assert (await ada.http.get(read_only)).content == b"content"


async def test_tus_empty_file_is_stored_by_head(ada: Client) -> None:
    made = await make(ada, 0)
    assert await offset_of(ada.http, made.upload_url) == 0
    assert (await shown(ada, made))["status"] == "STORED"


async def test_tus_patch_can_be_sent_as_post(ada: Client) -> None:
    made = await make(ada, 1)
    headers = BYTES | {"Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    answer = await ada.http.post(made.upload_url, content=b"x", headers=headers)
    assert (answer.status_code, answer.headers["upload-offset"]) == (204, "1")


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
async def test_tus_checksum_keeps_all_or_nothing(
    ada: Client, services: Services, algorithm: str
) -> None:
    made = await make(ada, len(DATA))
    digest = base64.b64encode(hashlib.new(algorithm, DATA).digest()).decode()
    checksum = {"Upload_Checksum": f"{algorithm} {digest}"}
    wrong = await patch(ada.http, made.upload_url, 0, DATA[::-1], **checksum)
    assert wrong.status_code == 460
    assert await offset_of(ada.http, made.upload_url) == 0
    assert await keys(services.objects) == []
    assert (await patch(ada.http, made.upload_url, 0, DATA, **checksum)).status_code == 204
    assert (await shown(ada, made))["status"] == "STORED"


async def test_tus_discovery_and_preflight_name_what_a_browser_client_needs(ada: Client) -> None:
    made = await make(ada, 1)
    found = await ada.http.options(httpx.URL(made.upload_url).path)
    assert (found.status_code, found.headers["tus-version"]) == (204, "1.0.0")
    assert set(found.headers["tus-extension"].split(",")) == {
        "checksum",
        "expiration",
        "termination",
    }
    for method in ("PATCH", "HEAD", "DELETE"):
        preflight = {
            "Origin": "http://localhost:5173",
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": "content-type,tus-resumable,upload-offset",
        }
        allowed = await ada.http.options(made.upload_url, headers=preflight)
        assert allowed.status_code == 200
        assert method in allowed.headers["access-control-allow-methods"]
        names = allowed.headers["access-control-allow-headers"].lower()
        assert {"upload-offset", "tus-resumable"} <= set(names.replace(" ", "").split(","))
    head = await ada.http.head(made.upload_url, headers=TUS | {"Origin": "http://localhost:5173"})
    exposed = head.headers["access-control-expose-headers"].lower().replace(" ", "").split(",")
    assert {"upload-offset", "upload-length", "tus-resumable", "location"} <= set(exposed)


async def test_tus_interrupted_patch_keeps_what_was_received(ada: Client, app: Starlette) -> None:
    made = await make(ada, len(DATA))
    sent = 0

    async def breaking() -> AsyncIterator[bytes]:
        nonlocal sent
        for start in range(0, 200_000, 50_000):
            yield DATA[start : start + 50_000]
            sent = start + 50_000
        raise ConnectionResetError

    async with serving(app) as server, httpx.AsyncClient(timeout=PATIENCE_S) as http:
        url = f"http://{server.address}{httpx.URL(made.upload_url).raw_path.decode()}"
        with contextlib.suppress(httpx.HTTPError, ConnectionResetError):
            await patch(http, url, 0, breaking())
        offset = 0
        async with patience():
            while not offset:
                offset = await offset_of(http, url)
        assert 0 < offset <= sent
        resumed = await patch(http, url, offset, DATA[offset:])
        assert resumed.status_code == 204
    app.state.shutdown._begun.clear()
    assert (await shown(ada, made))["fingerprint"] == hashlib.sha256(DATA).hexdigest()


async def test_tus_of_two_patches_at_once_one_continues(ada: Client, services: Services) -> None:
    made = await make(ada, len(DATA))
    both = asyncio.Event()
    waiting = 0

    async def slowly(data: bytes) -> AsyncIterator[bytes]:
        nonlocal waiting
        yield data[:1_000]
        waiting += 1
        if waiting == 2:
            both.set()
        await both.wait()
        yield data[1_000:]

    halves = [DATA[:150_000], DATA[150_000:]]
    answers = await asyncio.gather(
        *(patch(ada.http, made.upload_url, 0, slowly(half)) for half in halves)
    )
    assert sorted(answer.status_code for answer in answers) == [204, 409]
    assert await offset_of(ada.http, made.upload_url) == 150_000
    assert len(await keys(services.objects)) == 1
    winner = halves[0] if answers[0].status_code == 204 else halves[1]
    rest = await patch(ada.http, made.upload_url, 150_000, winner)
    assert rest.status_code == 204
    assert (await shown(ada, made))["fingerprint"] == hashlib.sha256(winner * 2).hexdigest()


async def test_tus_upload_continues_on_another_replica(
    open_replica: OpenReplica, add_user: AddUser
) -> None:
    async with open_replica() as one, open_replica() as two:
        ada = await one.person(await add_user("Ada"))
        made = await make(ada.client, len(DATA))
        path = httpx.URL(made.upload_url).raw_path.decode()
        assert (await patch(one.http, path, 0, DATA[:100_000])).status_code == 204
        assert await offset_of(two.http, path) == 100_000
        assert (await patch(two.http, path, 100_000, DATA[100_000:200_000])).status_code == 204
        last = await asyncio.gather(
            *(patch(http, path, 200_000, DATA[200_000:]) for http in (one.http, two.http))
        )
        assert {answer.status_code for answer in last} <= {204, 409}
        assert await offset_of(one.http, path) == len(DATA)
        file = await shown(ada.client, made)
        assert file["fingerprint"] == hashlib.sha256(DATA).hexdigest()
        assert (
            await two.http.get(httpx.URL(file["downloadUrl"]).raw_path.decode())
        ).content == DATA


async def test_tus_head_completes_an_upload_whose_last_response_was_lost(
    ada: Client, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await make(ada, 10)
    with monkeypatch.context() as patched:

        async def killed(*_: Any, **__: Any) -> None:
            raise RuntimeError("the process was killed")

        patched.setattr("graph.transport.files.tus.complete_upload", killed)
        assert (await patch(ada.http, made.upload_url, 0, b"0123456789")).status_code == 500
    assert (await shown(ada, made))["status"] == "PENDING"
    assert await offset_of(ada.http, made.upload_url) == 10
    assert (await shown(ada, made))["status"] == "STORED"


async def test_tus_upload_whose_received_bytes_are_gone_starts_again(
    ada: Client, services: Services
) -> None:
    made = await make(ada, 10)
    assert (await patch(ada.http, made.upload_url, 0, b"01234")).status_code == 204
    await services.objects.delete(await keys(services.objects))
    lost = await patch(ada.http, made.upload_url, 5, b"56789")
    assert (lost.status_code, error_of(lost)["code"]) == (409, "CONFLICT")
    assert await offset_of(ada.http, made.upload_url) == 0
    assert (await patch(ada.http, made.upload_url, 0, b"0123456789")).status_code == 204


async def test_tus_termination_removes_the_pending_file_and_its_bytes(
    ada: Client, services: Services
) -> None:
    bucket = await make_bucket(ada)
    made = await make(ada, 10, bucketId=bucket)
    await patch(ada.http, made.upload_url, 0, b"01234")
    ended = await ada.http.delete(made.upload_url, headers=TUS)
    assert (ended.status_code, ended.headers["tus-resumable"]) == (204, "1.0.0")
    assert await keys(services.objects) == []
    assert (await ada.http.head(made.upload_url, headers=TUS)).status_code == 404
    counted = await ada.ask("query($id: ID!) { bucket(id: $id) { fileCount } }", id=bucket)
    assert counted == {"bucket": {"fileCount": 0}}
    stored = await make(ada, 1, bucketId=bucket)
    await patch(ada.http, stored.upload_url, 0, b"x")
    refused = await ada.http.delete(stored.upload_url, headers=TUS)
    assert refused.status_code == 409
    assert (await shown(ada, stored))["status"] == "STORED"


async def begin_replacement(client: Client, file_id: str, size: int) -> Made:
    asked = {"id": file_id, "size": str(size)}
    return Made(file_id, (await client.ask(REPLACE, input=asked))["replaceFile"]["uploadUrl"])


async def test_tus_replacement_switches_when_it_is_complete(
    ada: Client, services: Services
) -> None:
    file = await put_file(ada, b"old bytes")
    first = await begin_replacement(ada, file["id"], 10)
    await patch(ada.http, first.upload_url, 0, b"01234")
    second = await begin_replacement(ada, file["id"], 10)
    assert len(await keys(services.objects)) == 1, "the bytes of the first one are removed"
    assert (await ada.http.head(first.upload_url, headers=TUS)).status_code == 410
    assert (await patch(ada.http, first.upload_url, 5, b"56789")).status_code == 410
    await patch(ada.http, second.upload_url, 0, b"98765")
    assert (await ada.http.get(file["downloadUrl"])).content == b"old bytes"
    assert (await patch(ada.http, second.upload_url, 5, b"43210")).status_code == 204
    assert await offset_of(ada.http, second.upload_url) == 10
    now = await shown(ada, second)
    assert (await ada.http.get(now["downloadUrl"])).content == b"9876543210"
    third = await begin_replacement(ada, file["id"], 5)
    assert (await ada.http.delete(third.upload_url, headers=TUS)).status_code == 204
    assert (await ada.http.head(third.upload_url, headers=TUS)).status_code == 410
    assert (await shown(ada, third))["key"] == now["key"]


async def test_tus_abandoned_upload_is_swept(ada: Client, services: Services) -> None:
    made = await make(ada, 10)
    await patch(ada.http, made.upload_url, 0, b"01234")
    none = timedelta(0)
    kept = await sweep(services, objects_after=none)
    assert (kept.objects, await offset_of(ada.http, made.upload_url)) == (0, 5)
    await sweep(services, uploads_after=none, objects_after=none)
    assert await keys(services.objects) == []
    assert (await ada.http.head(made.upload_url, headers=TUS)).status_code == 404


async def test_tus_bytes_of_an_upload_that_a_put_completed_are_swept(
    ada: Client, services: Services
) -> None:
    made = await make(ada, 10)
    await patch(ada.http, made.upload_url, 0, b"01234")
    assert (await ada.http.put(made.upload_url, content=b"0123456789")).status_code == 201
    swept = await sweep(services, objects_after=timedelta(0))
    assert (swept.objects, len(await keys(services.objects))) == (1, 1)
    assert (await ada.http.get((await shown(ada, made))["downloadUrl"])).content == b"0123456789"


async def test_tus_upload_in_too_many_parts_is_refused(
    ada: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graph.transport.files.tus.MAX_PARTS", 2)
    made = await make(ada, 10)
    for offset in range(2):
        assert (await patch(ada.http, made.upload_url, offset, b"x")).status_code == 204
    assert (await patch(ada.http, made.upload_url, 2, b"x")).status_code == 413


async def test_tus_upload_waits_while_user_has_four_others(ada: Client) -> None:
    bucket = await make_bucket(ada)
    made = [
        await make(ada, 2, bucketId=bucket, location=f"{number}")
        for number in range(UPLOADS_OF_ONE_USER + 1)
    ]
    started, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"x"
        started.release()
        await go_on.wait()
        yield b"y"

    running = [asyncio.create_task(patch(ada.http, one.upload_url, 0, slowly())) for one in made]
    for _ in range(UPLOADS_OF_ONE_USER):
        await started.acquire()
    assert started.locked()
    go_on.set()
    assert {answer.status_code for answer in await asyncio.gather(*running)} == {204}


async def test_tus_server_that_stops_keeps_what_it_received(ada: Client, app: Starlette) -> None:
    made = await make(ada, 10)

    async def stopping() -> AsyncIterator[bytes]:
        yield b"01234"
        app.state.shutdown.begin()
        yield b"56789"

    async with patience():
        refused = await patch(ada.http, made.upload_url, 0, stopping())
    assert refused.status_code == 503
    app.state.shutdown._begun.clear()
    offset = await offset_of(ada.http, made.upload_url)
    assert offset > 0
    rest = await patch(ada.http, made.upload_url, offset, b"0123456789"[offset:])
    assert rest.status_code == 204

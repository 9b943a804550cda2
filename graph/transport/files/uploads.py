"""Uploads of files with one `PUT`, and what all uploads share."""

import asyncio
import base64
import binascii
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from db.client_networks import network_of, remember_network
from db.concurrency.fair_slots import FairSlots
from db.errors import BadInput, Conflict, Forbidden, NotFound, TimedOut
from db.kit.audit import act_as
from db.services import Services
from db.storage import (
    ExpectedUpload,
    FileRow,
    Files,
    FileStatus,
    file_deleted,
    replacement_not_pending,
    store_bytes,
)
from graph.auth import owner_of_link, require_credential
from graph.context import address_of
from graph.kit.signed_links import LinkHolder, Links
from graph.transport.gateway import gateway_of, stopping_error

UPLOADS_AT_ONCE = 16
UPLOADS_OF_ONE_USER = 4
MAX_WAITING_UPLOADS = 100
"""Waiting uploads of one user."""
MAX_WAIT_S = 30.0
IDLE_TIMEOUT_S = 60.0
RATE_WINDOW_S = 30

_DIGESTS = ("content-digest", "repr-digest", "digest")


class Uploads:
    """Receives uploads. Their number is limited, because each holds several parts in memory."""

    def __init__(self) -> None:
        self.slots = FairSlots(
            "uploads",
            total=UPLOADS_AT_ONCE,
            of_one_user=lambda: UPLOADS_OF_ONE_USER,
            max_waiting=MAX_WAITING_UPLOADS,
            wait_s=MAX_WAIT_S,
        )

    async def receive(self, request: Request) -> Response:
        """Store the body, and respond when the file is `STORED`."""
        gateway = gateway_of(request)
        if gateway.shutdown.begun:
            raise stopping_error()
        upload = find_upload(request, await verified_file(request, "PUT"))
        if upload.is_complete:
            raise Conflict(
                "The content of this file is already stored.",
                hint="Query the file, create a new one, or call `replaceFile`.",
            )
        expected = _expected_digest(request, upload)
        async with self.slots.of(upload.file.owner_id):
            stored = await store_bytes(
                gateway.services.storage,
                gateway.services.objects,
                upload.file,
                body_chunks(request),
                replacement_id=upload.replacement_id,
                digest=expected,
            )
        return JSONResponse(_summary(stored), status_code=201, headers={"ETag": etag(stored)})


async def verified_file(request: Request, method: str) -> FileRow:
    """Verify the link and return its file."""
    holder, services = await verify_link(request, method), gateway_of(request).services
    files = await services.storage.known_files([UUID(hex=request.path_params["file_id"])])
    if not files or not await _can_read(services, holder, files[0]):
        raise NotFound(
            "The file does not exist.", hint="Check the link: the file may have been deleted."
        )
    return files[0]


async def verify_link(request: Request, method: str) -> LinkHolder | None:
    """Verify the signature, and that the session or token which requested the link is valid."""
    gateway = gateway_of(request)
    links = Links(gateway.services.keys)
    try:
        # Not that of `request.url`, which is made of the header `Host`.
        holder = links.check(method, request.scope["path"], request.query_params)
    except Forbidden:
        await gateway.turns.wait(network_of(address_of(request.scope)))
        raise
    if holder is not None:
        act_as(*holder)
        remember_network(holder.user_id, network_of(address_of(request.scope)))
        await require_credential(gateway.services, *holder)
    return holder


async def _can_read(services: Services, holder: LinkHolder | None, file: FileRow) -> bool:
    """Whether the holder still sees the file: its bucket may have become private."""
    if holder is None or holder.user_id == file.owner_id:
        return True
    async with services.database.read() as session:
        return bool(await Files(session, owner_of_link(holder.user_id)).get_many([file.id]))


def find_upload(request: Request, file: FileRow) -> ExpectedUpload:
    """The upload that the link permits, which may be complete.

    Raises:
        Conflict: a later replacement was started, or this one was cancelled.
        NotFound: the file was deleted.
    """
    if file.status == FileStatus.DELETING:
        raise file_deleted()
    found = request.path_params.get("replacement_id")
    if found is None:
        return ExpectedUpload(file)
    if file.replacement_id != UUID(hex=found):
        raise replacement_not_pending()
    return ExpectedUpload(file, file.replacement_id)


def _expected_digest(request: Request, upload: ExpectedUpload) -> bytes | None:
    """The SHA-256 from the digest headers, or None.

    Raises:
        BadInput: the headers contradict the file, or ask for something unsupported.
    """
    if request.headers.get("content-length", str(upload.size)) != str(upload.size):
        raise BadInput(
            f"The body must have {upload.size} bytes.",
            hint="Send exactly the number of bytes given to `createFile` or `replaceFile`.",
            field="size",
        )
    if request.headers.get("content-encoding", "identity") != "identity":
        raise BadInput("A Content-Encoding is not supported.", hint="Send the content unencoded.")
    if "content-range" in request.headers:
        raise BadInput(
            "A PUT of a part is not supported.",
            hint="Send the content in one PUT, or in several requests of tus 1.0.",
        )
    stated = {digest for header in _DIGESTS for digest in _sha_256(request.headers.get(header))}
    if len(stated) > 1:
        raise BadInput(
            "The headers contain two different digests.", hint="Send one digest, or none."
        )
    return stated.pop() if stated else None


def _sha_256(header: str | None) -> Iterator[bytes]:
    """From `sha-256=:<base64>:` (RFC 9530) or `SHA-256=<base64>` (RFC 3230)."""
    for entry in (header or "").split(","):
        algorithm, _, value = entry.strip().partition("=")
        if algorithm.lower() != "sha-256":
            continue
        try:
            digest = base64.b64decode(value.removeprefix(":").removesuffix(":"), validate=True)
        except binascii.Error:
            digest = b""
        if len(digest) != 32:
            raise BadInput(
                "The digest is not a base64-encoded SHA-256.",
                hint="Send `Content-Digest: sha-256=:<base64>:`, or omit the header.",
            )
        yield digest


async def body_chunks(request: Request) -> AsyncIterator[bytes]:
    """The body, from a client that sends it fast enough.

    Raises:
        TimedOut: the client paused, was too slow, or took too long.
    """
    settings = gateway_of(request).services.settings
    pace = _Pace(settings.upload_bytes_per_second, settings.upload_seconds)
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(min(IDLE_TIMEOUT_S, pace.left_s)):
                with pace.waiting():
                    chunk = await anext(stream, None)
        except TimeoutError:
            raise pace.error() from None
        if chunk is None:
            return
        pace.count(len(chunk))
        if chunk:
            yield chunk


class _Pace:
    """Measures how fast a client sends. The time that the object store takes does not count."""

    def __init__(self, bytes_per_second: int, seconds: int) -> None:
        self._expected = bytes_per_second * RATE_WINDOW_S
        self._bytes_per_second = bytes_per_second
        self._seconds = seconds
        self._ends_at = time.monotonic() + seconds
        self._waited_s = 0.0
        self._received = 0

    @property
    def left_s(self) -> float:
        return max(self._ends_at - time.monotonic(), 0)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self._waited_s += time.monotonic() - began

    def count(self, size: int) -> None:
        """Raises TimedOut after the whole time, or a window in which the client sent too little."""
        if not self.left_s:
            raise self.error()
        self._received += size
        if self._waited_s < RATE_WINDOW_S:
            return
        if self._received < self._expected:
            raise TimedOut(
                f"The upload was slower than {self._bytes_per_second} bytes per second.",
                hint="Retry over a faster network.",
            )
        self._waited_s, self._received = 0.0, 0

    def error(self) -> TimedOut:
        if self.left_s:
            message = f"The upload was idle for {IDLE_TIMEOUT_S:.0f} seconds."
            return TimedOut(message, hint="Retry the upload.")
        return TimedOut(
            f"The upload took longer than {self._seconds} seconds.",
            hint="Use a resumable upload (tus), and send the rest in another request.",
        )


def etag(file: FileRow) -> str:
    return f'"{(file.fingerprint or b"").hex()}"'


def _summary(file: FileRow) -> dict[str, object]:
    fingerprint, key = file.fingerprint or b"", file.key or b""
    return {"size": str(file.size), "fingerprint": fingerprint.hex(), "key": key.hex()}

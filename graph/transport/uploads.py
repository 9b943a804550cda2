"""Uploads of files with one `PUT`, and what all uploads share."""

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Iterator
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from db.errors import BadInput, Conflict, NotFound, TimedOut
from db.kit.concurrency_limit import ConcurrencyLimit
from db.services import Services
from db.storage import (
    ExpectedUpload,
    FileRow,
    FileStatus,
    file_deleted,
    replacement_not_pending,
    store_bytes,
)
from graph.kit.signed_links import Links
from graph.transport.gateway import Gateway, stopping_error

UPLOADS_AT_ONCE = 16
UPLOADS_OF_ONE_USER = 4
IDLE_TIMEOUT_S = 60.0

_DIGESTS = ("content-digest", "repr-digest", "digest")


class Uploads:
    """Receives uploads. Their number is limited, because each holds several parts in memory."""

    def __init__(self) -> None:
        self.places = ConcurrencyLimit(
            "uploads", at_once=UPLOADS_AT_ONCE, of_one_user=UPLOADS_OF_ONE_USER
        )

    async def receive(self, request: Request) -> Response:
        """Store the body, and respond when the file is `STORED`."""
        gateway: Gateway = request.state.gateway
        if gateway.shutdown.begun:
            raise stopping_error()
        upload = find_upload(request, await verified_file(request, gateway.services, "PUT"))
        if upload.is_complete:
            raise Conflict(
                "The content of this file is already stored.",
                hint="Query the file, create a new one, or call `replaceFile`.",
            )
        expected = _expected_digest(request, upload)
        with self.places.slot(upload.file.owner_id):
            stored = await store_bytes(
                gateway.services.storage,
                gateway.services.objects,
                upload.file,
                body_chunks(request),
                replacement_id=upload.replacement_id,
                digest=expected,
            )
        return JSONResponse(_summary(stored), status_code=201, headers={"ETag": etag(stored)})


async def verified_file(request: Request, services: Services, method: str) -> FileRow:
    """Verify the link and return its file."""
    Links(services.keys).check(method, request.url.path, request.query_params)
    files = await services.storage.known_files([UUID(hex=request.path_params["file_id"])])
    if not files:
        raise NotFound(
            "The file does not exist.", hint="Check the link: the file may have been deleted."
        )
    return files[0]


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
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(IDLE_TIMEOUT_S):
                chunk = await anext(stream, None)
        except TimeoutError:
            raise TimedOut(
                f"The upload was idle for {IDLE_TIMEOUT_S:.0f} seconds.", hint="Retry the upload."
            ) from None
        if chunk is None:
            return
        if chunk:
            yield chunk


def etag(file: FileRow) -> str:
    return f'"{(file.fingerprint or b"").hex()}"'


def _summary(file: FileRow) -> dict[str, object]:
    fingerprint, key = file.fingerprint or b"", file.key or b""
    return {"size": str(file.size), "fingerprint": fingerprint.hex(), "key": key.hex()}

"""Uploads and downloads of files over HTTP, with signed links.

The signature authorizes the request (graph.kit.signed_links): browsers can follow a link without a
session.
"""

import asyncio
import base64
import binascii
import re
from collections.abc import AsyncIterator, Iterator
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from db.errors import BadInput, Conflict, NotFound, TimedOut
from db.kit.concurrency_limit import ConcurrencyLimit
from db.services import Services
from db.storage import (
    ExpectedUpload,
    FileRow,
    FileStatus,
    disposition,
    read_bytes,
    replacement_not_pending,
    store_bytes,
)
from graph.kit.signed_links import Links
from graph.transport.byte_responses import UNTRUSTED_CONTENT_HEADERS, json_errors, stream_response
from graph.transport.gateway import Gateway, stopping_error

UPLOADS_AT_ONCE = 16
UPLOADS_OF_ONE_USER = 4
IDLE_TIMEOUT_S = 60.0

_DIGESTS = ("content-digest", "repr-digest", "digest")
_RANGE = re.compile(r"bytes=(?P<first>\d{0,19})-(?P<last>\d{0,19})")


def file_path(file_id: UUID, replacement_id: UUID | None = None) -> str:
    path = f"/files/{file_id.hex}"
    return path if replacement_id is None else f"{path}/{replacement_id.hex}"


def routes() -> list[Route]:
    """The routes of uploads and downloads."""
    uploads = Uploads()
    return [
        Route("/files/{file_id}", json_errors(uploads.receive), methods=["PUT"]),
        Route("/files/{file_id}/{replacement_id}", json_errors(uploads.receive), methods=["PUT"]),
        Route("/files/{file_id}", json_errors(send), methods=["GET"]),  # Starlette adds HEAD
    ]


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
        upload = _expected_upload(request, await _verified_file(request, gateway.services, "PUT"))
        expected = _expected_digest(request, upload)
        with self.places.slot(upload.file.owner_id):
            stored = await store_bytes(
                gateway.services.storage,
                gateway.services.objects,
                upload.file,
                _chunks(request),
                replacement_id=upload.replacement_id,
                digest=expected,
            )
        return JSONResponse(_summary(stored), status_code=201, headers={"ETag": _etag(stored)})


async def send(request: Request) -> Response:
    """Send the content, or the requested range of it."""
    gateway: Gateway = request.state.gateway
    file = await _verified_file(request, gateway.services, "GET")
    if file.status != FileStatus.STORED:
        raise NotFound("This file has no content.", hint="Query its `status` to see the reason.")
    headers = UNTRUSTED_CONTENT_HEADERS | {"ETag": _etag(file), "Accept-Ranges": "bytes"}
    if _is_not_modified(request, file):
        return Response(status_code=304, headers=headers)
    requested = _requested_range(request, file)
    if requested is not None and not requested:
        return Response(
            status_code=416,
            headers=UNTRUSTED_CONTENT_HEADERS | {"Content-Range": f"bytes */{file.size}"},
        )
    span = range(file.size) if requested is None else requested
    headers["Content-Type"] = file.content_type
    headers["Content-Disposition"] = disposition(file.location)
    headers["Content-Length"] = str(len(span))
    if requested is not None:
        headers["Content-Range"] = f"bytes {span[0]}-{span[-1]}/{file.size}"
    status = 200 if requested is None else 206
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    pieces = read_bytes(gateway.services.objects, file, start=span.start, end=span.stop)
    return await stream_response(pieces, status_code=status, headers=headers)


async def _verified_file(request: Request, services: Services, method: str) -> FileRow:
    """Verify the link and return its file."""
    Links(services.keys).check(method, request.url.path, request.query_params)
    files = await services.storage.known_files([UUID(hex=request.path_params["file_id"])])
    if not files:
        raise NotFound(
            "The file does not exist.", hint="Check the link: the file may have been deleted."
        )
    return files[0]


def _expected_upload(request: Request, file: FileRow) -> ExpectedUpload:
    """The upload that the link permits.

    Raises:
        Conflict: it is complete, or a later replacement was started.
    """
    found = request.path_params.get("replacement_id")
    if found is None:
        if file.status != FileStatus.PENDING:
            raise Conflict(
                "The content of this file is already stored.",
                hint="Query the file, create a new one, or call `replaceFile`.",
            )
        return ExpectedUpload(file)
    replacement_id = UUID(hex=found)
    if file.replacement_size is None or file.replacement_id != replacement_id:
        raise replacement_not_pending()
    return ExpectedUpload(file, replacement_id)


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
        raise BadInput("Partial uploads are not supported.", hint="Send the content in one PUT.")
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


async def _chunks(request: Request) -> AsyncIterator[bytes]:
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


def _is_not_modified(request: Request, file: FileRow) -> bool:
    known = request.headers.get("if-none-match", "")
    tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
    return bool(tags & {"*", _etag(file)})


def _requested_range(request: Request, file: FileRow) -> range | None:
    """The requested range. None sends the whole file: no single valid range, or it is stale."""
    parts = _RANGE.fullmatch(request.headers.get("range", ""))
    if parts is None or request.headers.get("if-range", _etag(file)) != _etag(file):
        return None
    match parts["first"], parts["last"]:
        case "", "":
            return None
        case "", last:
            return range(max(file.size - int(last), 0), file.size)
        case first, "":
            return range(int(first), file.size)
        case first, last if int(first) <= int(last):
            return range(int(first), min(int(last) + 1, file.size))
    return None


def _etag(file: FileRow) -> str:
    return f'"{(file.fingerprint or b"").hex()}"'


def _summary(file: FileRow) -> dict[str, object]:
    fingerprint, key = file.fingerprint or b"", file.key or b""
    return {"size": str(file.size), "fingerprint": fingerprint.hex(), "key": key.hex()}

"""The bytes of files over HTTP: PUT to an upload link, GET from a download link.

A link speaks for itself (graph.kit.signed_links): neither asks for a session, a browser can follow.
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

from db.errors import BadInput, Conflict, NotFound, Overloaded, TimedOut
from db.kit.concurrency_limit import Places
from db.services import Services
from db.storage import PENDING, STORED, FileRow, disposition, read_bytes, store_bytes
from graph.kit.signed_links import Links
from graph.transport.byte_responses import HARMLESS, json_errors, stream_response
from graph.transport.gateway import Gateway

UPLOADS_AT_ONCE = 16
UPLOADS_OF_ONE_USER = 4
IDLE_TIMEOUT_S = 60.0

_DIGESTS = ("content-digest", "repr-digest", "digest")
_RANGE = re.compile(r"bytes=(?P<first>\d{0,19})-(?P<last>\d{0,19})")


def file_path(file_id: UUID) -> str:
    return f"/files/{file_id.hex}"


def routes() -> list[Route]:
    """What `graph.app` mounts."""
    uploads = Uploads()
    return [
        Route("/files/{file_id}", json_errors(uploads.receive), methods=["PUT"]),
        Route("/files/{file_id}", json_errors(send), methods=["GET"]),  # Starlette adds HEAD
    ]


class Uploads:
    """Takes bytes in, so many uploads at once: each holds a few parts in memory."""

    def __init__(self) -> None:
        self.places = Places("uploads", at_once=UPLOADS_AT_ONCE, of_one_user=UPLOADS_OF_ONE_USER)

    async def receive(self, request: Request) -> Response:
        """Answers when the file is STORED, or says why it is not."""
        gateway: Gateway = request.state.gateway
        if gateway.shutdown.begun:
            raise Overloaded(
                "This server is stopping.",
                hint="Send it again: another takes over.",
                retry_after_s=1,
            )
        file = await _linked(request, gateway.services, "PUT")
        if file.status != PENDING:
            raise Conflict("This file has its bytes already.", hint="Read it: it is stored.")
        promised = _promised(request, file)
        with self.places.place(file.owner_id):
            stored = await store_bytes(
                gateway.services.storage,
                gateway.services.objects,
                file,
                _chunks(request),
                promised=promised,
            )
        return JSONResponse(_told(stored), status_code=201, headers={"ETag": _etag(stored)})


async def send(request: Request) -> Response:
    """The bytes, or the range of them that was asked for."""
    gateway: Gateway = request.state.gateway
    file = await _linked(request, gateway.services, "GET")
    if file.status != STORED:
        raise NotFound("This file has no bytes.", hint="Read it: its `status` says why.")
    headers = HARMLESS | {"ETag": _etag(file), "Accept-Ranges": "bytes"}
    if _is_known(request, file):
        return Response(status_code=304, headers=headers)
    asked = _asked_range(request, file)
    if asked is not None and not asked:
        return Response(
            status_code=416, headers=HARMLESS | {"Content-Range": f"bytes */{file.size}"}
        )
    span = range(file.size) if asked is None else asked
    headers["Content-Type"] = file.content_type
    headers["Content-Disposition"] = disposition(file.location)
    headers["Content-Length"] = str(len(span))
    if asked is not None:
        headers["Content-Range"] = f"bytes {span[0]}-{span[-1]}/{file.size}"
    status = 200 if asked is None else 206
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    pieces = read_bytes(gateway.services.objects, file, start=span.start, end=span.stop)
    return await stream_response(pieces, status_code=status, headers=headers)


async def _linked(request: Request, services: Services, method: str) -> FileRow:
    """The file that the link names, once the link has proved itself."""
    Links(services.keys).check(method, request.url.path, request.query_params)
    found = await services.storage.known_files([UUID(hex=request.path_params["file_id"])])
    if not found:
        raise NotFound("There is no such file.", hint="It may have been deleted.")
    return found[0]


def _promised(request: Request, file: FileRow) -> bytes | None:
    """The SHA-256 that the sender states, by whichever header; refuses what cannot come right."""
    if request.headers.get("content-length", str(file.size)) != str(file.size):
        raise BadInput(
            f"The body is not of {file.size} bytes.",
            hint="Send exactly the bytes that `createFile` was told of.",
            field="size",
        )
    if request.headers.get("content-encoding", "identity") != "identity":
        raise BadInput("Encoded bodies are not taken.", hint="Send the bytes as they are.")
    if "content-range" in request.headers:
        raise BadInput("An upload is not taken in parts.", hint="Send all bytes in one PUT.")
    stated = {digest for header in _DIGESTS for digest in _sha_256(request.headers.get(header))}
    if len(stated) > 1:
        raise BadInput("The headers state two digests.", hint="Send one, or none.")
    return stated.pop() if stated else None


def _sha_256(header: str | None) -> Iterator[bytes]:
    """From `sha-256=:<base64>:` (RFC 9530) or `SHA-256=<base64>` (RFC 3230, before it)."""
    for entry in (header or "").split(","):
        algorithm, _, value = entry.strip().partition("=")
        if algorithm.lower() != "sha-256":
            continue
        try:
            found = base64.b64decode(value.removeprefix(":").removesuffix(":"), validate=True)
        except binascii.Error:
            found = b""
        if len(found) != 32:
            raise BadInput(
                "The digest is not a SHA-256 in base64.",
                hint="Send `Content-Digest: sha-256=:<base64>:`, or none.",
            )
        yield found


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(IDLE_TIMEOUT_S):
                chunk = await anext(stream, None)
        except TimeoutError:
            raise TimedOut(
                f"No byte came for {IDLE_TIMEOUT_S:.0f} s.", hint="Send the upload again."
            ) from None
        if chunk is None:
            return
        if chunk:
            yield chunk


def _is_known(request: Request, file: FileRow) -> bool:
    known = request.headers.get("if-none-match", "")
    tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
    return bool(tags & {"*", _etag(file)})


def _asked_range(request: Request, file: FileRow) -> range | None:
    """None is the whole: nothing, several or nonsense asked for, or a range of another version."""
    found = _RANGE.fullmatch(request.headers.get("range", ""))
    if found is None or request.headers.get("if-range", _etag(file)) != _etag(file):
        return None
    match found["first"], found["last"]:
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


def _told(file: FileRow) -> dict[str, object]:
    fingerprint, key = file.fingerprint or b"", file.key or b""
    return {"size": str(file.size), "fingerprint": fingerprint.hex(), "key": key.hex()}

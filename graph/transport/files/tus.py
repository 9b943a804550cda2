"""Resumable uploads: the upload URL of a file speaks tus 1.0 (https://tus.io).

`createFile` and `replaceFile` take the place of tus's creation. A client asks with HEAD how many
bytes were received, and sends the following ones with PATCH, to any replica.
"""

import asyncio
import base64
import binascii
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import format_datetime
from uuid import UUID
from weakref import WeakValueDictionary

from starlette.requests import Request
from starlette.responses import Response

from db.concurrency.fair_slots import FairSlots
from db.errors import BadInput, Conflict, HowdahError, TooLarge
from db.storage import (
    Checksum,
    ChecksumMismatch,
    ExpectedUpload,
    append_bytes,
    complete_upload,
    received_bytes,
    terminate_upload,
    too_many_bytes,
    wrong_offset,
)
from graph.transport.files.byte_responses import error_response, json_errors
from graph.transport.files.uploads import body_chunks, find_upload, verified_file
from graph.transport.gateway import gateway_of, stopping_error

TUS_VERSION_HEADER = "tus-resumable"
VERSION = "1.0.0"
# Each part is a row and an object. It allows 1,000 full ones and thousands of interruptions.
MAX_PARTS = 5_000
_MEDIA_TYPE = "application/offset+octet-stream"
_CHECKSUM_MISMATCH = 460  # of tus, not registered
_HASHES = {"sha256": hashlib.sha256, "sha1": hashlib.sha1}  # tus requires SHA-1
_DISCOVERY = {
    "Tus-Version": VERSION,
    "Tus-Extension": "checksum,expiration,termination",
    "Tus-Checksum-Algorithm": ",".join(_HASHES),
}


class _Refused(Exception):
    def __init__(self, status: int, error: HowdahError) -> None:
        super().__init__(status)
        self.status = status
        self.error = error


class TusUploads:
    """Receives uploads in several requests. They count towards the limit of uploads at once."""

    METHODS = ("PATCH", "POST", "DELETE", "OPTIONS")

    def __init__(self, slots: FairSlots) -> None:
        self._slots = slots
        self._completing: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    async def respond(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            response = Response(status_code=204, headers=_DISCOVERY)
        else:
            response = await json_errors(self._respond)(request)
        response.headers["Tus-Resumable"] = VERSION
        return response

    async def _respond(self, request: Request) -> Response:
        try:
            return await self._handle(request)
        except _Refused as refused:
            response = error_response(
                refused.error, request.state.request_id, status=refused.status
            )
            response.headers["Tus-Version"] = VERSION
            return response

    async def _handle(self, request: Request) -> Response:
        # Some proxies let no PATCH pass.
        method = request.headers.get("x-http-method-override", request.method).upper()
        if method not in {"HEAD", "PATCH", "DELETE"}:
            error = BadInput(
                "Uploads are created by `createFile` and `replaceFile`.",
                hint="Pass `uploadUrl` to the tus client, and no `endpoint`.",
            )
            raise _Refused(405, error)
        if request.headers.get(TUS_VERSION_HEADER) != VERSION:
            error = BadInput(
                "The version of tus is not supported.", hint=f"Send `Tus-Resumable: {VERSION}`."
            )
            raise _Refused(412, error)
        if gateway_of(request).shutdown.begun:
            raise stopping_error()
        upload = await _require_upload(request)
        match method:
            case "HEAD":
                return await self._tell_offset(request, upload)
            case "PATCH":
                return await self._receive(request, upload)
            case _:
                return await self._terminate(request, upload)

    async def _tell_offset(self, request: Request, upload: ExpectedUpload) -> Response:
        """Respond with the number of received bytes.

        The client takes all of them for the end. So the file is stored before, if the response to
        the last PATCH was lost, or the process was killed.
        """
        offset = await _received(request, upload)
        if offset == upload.size and not upload.is_complete:
            async with self._slots.of(upload.file.owner_id):
                await self._complete(request, upload)
        return _progress(request, offset, status=200, length=upload.size)

    async def _receive(self, request: Request, upload: ExpectedUpload) -> Response:
        offset, length = _offset(request), request.headers.get("content-length")
        services = gateway_of(request).services
        received = await services.storage.chunks_of(upload)
        if offset != (upload.size if upload.is_complete else received_bytes(received)):
            raise wrong_offset()
        if len(received) >= MAX_PARTS:
            raise _too_many_parts()
        if length is not None and offset + int(length) > upload.size:
            raise too_many_bytes()
        if upload.is_complete:
            return _progress(request, offset, status=204)
        async with self._slots.of(upload.file.owner_id):
            try:
                offset = await append_bytes(
                    services.storage,
                    services.objects,
                    upload,
                    _until_shutdown(request),
                    offset=offset,
                    checksum=_checksum(request),
                )
            except ChecksumMismatch as error:
                raise _Refused(_CHECKSUM_MISMATCH, error) from None
            if offset == upload.size:
                await self._complete(request, upload)
        return _progress(request, offset, status=204)

    async def _complete(self, request: Request, upload: ExpectedUpload) -> None:
        """Store the file, unless a concurrent request of this process does."""
        lock = self._completing.setdefault(upload.id, asyncio.Lock())
        async with lock:
            present = await _require_upload(request)
            if not present.is_complete:
                services = gateway_of(request).services
                await complete_upload(services.storage, services.objects, present)

    async def _terminate(self, request: Request, upload: ExpectedUpload) -> Response:
        if upload.is_complete:
            raise Conflict(
                "This upload is complete.", hint="To delete the file, call `deleteFile`."
            )
        services = gateway_of(request).services
        await terminate_upload(services.storage, services.objects, upload)
        return Response(status_code=204)


async def _require_upload(request: Request) -> ExpectedUpload:
    file = await verified_file(request, "PUT")
    try:
        return find_upload(request, file)
    except Conflict as error:
        raise _Refused(410, error) from None


async def _received(request: Request, upload: ExpectedUpload) -> int:
    if upload.is_complete:
        return upload.size
    return received_bytes(await gateway_of(request).services.storage.chunks_of(upload))


def _too_many_parts() -> TooLarge:
    return TooLarge(
        f"The upload arrived in {MAX_PARTS} parts.",
        hint="End it with `DELETE`, and start again with larger parts (`chunkSize` of the client).",
    )


def _offset(request: Request) -> int:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip()
    if media_type.lower() != _MEDIA_TYPE:
        error = BadInput(
            "The content type is not the one of tus.", hint=f"Send `Content-Type: {_MEDIA_TYPE}`."
        )
        raise _Refused(415, error)
    if request.headers.get("content-encoding", "identity") != "identity":
        raise BadInput("A Content-Encoding is not supported.", hint="Send the content unencoded.")
    offset = request.headers.get("upload-offset", "")
    if not (offset.isascii() and offset.isdecimal() and len(offset) < 20):
        raise BadInput(
            "`Upload-Offset` is missing or not a number.", hint="Send the number of bytes so far."
        )
    return int(offset)


def _checksum(request: Request) -> Checksum | None:
    """From `Upload-Checksum: sha256 <base64>`."""
    header = request.headers.get("upload-checksum")
    if header is None:
        return None
    algorithm, _, encoded = header.strip().partition(" ")
    try:
        return Checksum(_HASHES[algorithm](), base64.b64decode(encoded, validate=True))
    except (KeyError, binascii.Error):
        raise BadInput(
            "`Upload-Checksum` cannot be used.",
            hint="Send `sha256` or `sha1`, a space and the digest in base64, or omit the header.",
        ) from None


async def _until_shutdown(request: Request) -> AsyncIterator[bytes]:
    """The body. A server that stops keeps what it has received; another one takes the rest."""
    shutdown = gateway_of(request).shutdown
    async for chunk in body_chunks(request):
        yield chunk
        if shutdown.begun:
            raise stopping_error()


def _progress(request: Request, offset: int, *, status: int, length: int | None = None) -> Response:
    expires = datetime.fromtimestamp(int(request.query_params["expires"]), UTC)
    headers = {
        "Upload-Offset": str(offset),
        "Upload-Expires": format_datetime(expires, usegmt=True),
        "Cache-Control": "no-store",
    }
    if length is not None:
        headers["Upload-Length"] = str(length)
    return Response(status_code=status, headers=headers)

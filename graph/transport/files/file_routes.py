"""Downloads of files over HTTP, and the routes of uploads and downloads.

The signature authorizes the request (graph.kit.signed_links): browsers can follow a link without a
session.
"""

import contextlib
import functools
import re
from collections.abc import AsyncGenerator, Hashable
from datetime import timedelta
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from db.client_networks import network_of
from db.concurrency.fair_slots import FairSlots
from db.errors import NotFound
from db.kit.audit import AuditKind, current_actor, record_alone
from db.services import Services
from db.storage import (
    FileRow,
    FileStatus,
    disposition,
    has_new_name,
    object_key,
    read_bytes,
)
from graph.context import address_of
from graph.transport.files.byte_responses import (
    UNTRUSTED_CONTENT_HEADERS,
    json_errors,
    recorded_download,
    stream_response,
)
from graph.transport.files.tus import TUS_VERSION_HEADER, TusUploads
from graph.transport.files.uploads import Uploads, etag, verified_file
from graph.transport.gateway import gateway_of

STORE_LINK_LIFETIME = timedelta(seconds=60)
DOWNLOADS_OF_ONE_NETWORK = 64
"""Each holds up to 4 MB while its client does not read."""
MAX_WAITING_DOWNLOADS = 1_000
MAX_WAIT_S = 30.0

_RANGE = re.compile(r"bytes=(?P<first>\d{0,19})-(?P<last>\d{0,19})")


def file_path(file_id: UUID, replacement_id: UUID | None = None) -> str:
    path = f"/files/{file_id.hex}"
    return path if replacement_id is None else f"{path}/{replacement_id.hex}"


def routes() -> list[Route]:
    """The routes of uploads and downloads."""
    uploads = Uploads()
    download = functools.partial(send, slots=make_slots())
    tus = TusUploads(uploads.slots)
    put = json_errors(uploads.receive)
    file, replacement = "/files/{file_id}", "/files/{file_id}/{replacement_id}"

    async def get(request: Request) -> Response:
        is_tus = request.method == "HEAD" and TUS_VERSION_HEADER in request.headers
        return await (tus.respond if is_tus else download)(request)

    return [
        Route(file, json_errors(get), methods=["GET"]),  # Starlette adds HEAD
        Route(replacement, tus.respond, methods=["HEAD"]),
        *(Route(path, put, methods=["PUT"]) for path in (file, replacement)),
        *(Route(path, tus.respond, methods=tus.METHODS) for path in (file, replacement)),
    ]


def make_slots() -> FairSlots:
    """Of downloads, which wait in order of arrival."""
    return FairSlots(
        "downloads",
        of_one_user=lambda: DOWNLOADS_OF_ONE_NETWORK,
        max_waiting=MAX_WAITING_DOWNLOADS,
        wait_s=MAX_WAIT_S,
    )


async def in_slot(
    slots: FairSlots, holder: Hashable, pieces: AsyncGenerator[bytes]
) -> AsyncGenerator[bytes]:
    """The pieces, the first of which waits for a slot."""
    async with contextlib.aclosing(pieces), slots.of(holder):
        async for piece in pieces:
            yield piece


async def send(request: Request, slots: FairSlots) -> Response:
    """Send the content, or the requested range of it."""
    gateway = gateway_of(request)
    file = await verified_file(request, "GET")
    if file.status != FileStatus.STORED:
        raise NotFound("This file has no content.", hint="Query its `status` to see the reason.")
    headers = UNTRUSTED_CONTENT_HEADERS | {"ETag": etag(file), "Accept-Ranges": "bytes"}
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
    if (store_url := await _store_link(request, gateway.services, file)) is not None:
        await record_alone(
            gateway.services.database,
            AuditKind.FILE_DOWNLOADED,
            owner_id=current_actor.get().user_id or file.owner_id,
            subject_id=file.id,
            subject_name=file.location,
            details={"redirected": True, "range": headers.get("Content-Range")},
        )
        return Response(
            status_code=307,
            headers=UNTRUSTED_CONTENT_HEADERS
            | {"Location": store_url, "Cache-Control": "no-store"},
        )
    pieces = recorded_download(
        read_bytes(gateway.services.objects, file, start=span.start, end=span.stop),
        gateway.services.database,
        AuditKind.FILE_DOWNLOADED,
        of=file.owner_id,
        subject_id=file.id,
        subject_name=file.location,
        range=headers.get("Content-Range"),
    )
    network = network_of(address_of(request.scope))
    paced = gateway.turns.each(network, in_slot(slots, network, pieces))
    return await stream_response(paced, status_code=status, headers=headers)


async def _store_link(request: Request, services: Services, file: FileRow) -> str | None:
    """A link that the object store signs, or None if the bytes pass through this server.

    Nobody can revoke such a link, so it is made for one request that was just authorized. A script
    of another origin follows no redirect that the CORS rules of the store do not name, and the
    store sends a renamed file under its first name.
    """
    is_direct = services.settings.objects_redirect and "origin" not in request.headers
    if not is_direct or file.object_id is None or has_new_name(file):
        return None
    key = object_key(file.id, file.object_id)
    return await services.objects.link(key, expires_in=STORE_LINK_LIFETIME)


def _is_not_modified(request: Request, file: FileRow) -> bool:
    known = request.headers.get("if-none-match", "")
    tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
    return bool(tags & {"*", etag(file)})


def _requested_range(request: Request, file: FileRow) -> range | None:
    """The requested range. None sends the whole file: no single valid range, or it is stale."""
    parts = _RANGE.fullmatch(request.headers.get("range", ""))
    if parts is None or request.headers.get("if-range", etag(file)) != etag(file):
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

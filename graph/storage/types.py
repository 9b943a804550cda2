"""Providers, buckets and files as clients see them."""

import re
from datetime import datetime, timedelta
from enum import Enum
from typing import Annotated, NamedTuple
from uuid import UUID

import strawberry

from db.errors import BadInput
from db.storage import STORED, BspRow, BucketRow, FileRow, object_key
from graph.context import Info
from graph.kit.fields import argument, attribute, enum_value, field
from graph.kit.ids import Node, node
from graph.kit.paging import After, Before, Connection, First, Last, Listing, window
from graph.kit.scalars import BigInt
from graph.kit.signed_links import Links
from graph.storage.loaders import (
    BspById,
    BspsOfFile,
    BucketById,
    FileById,
    FilesAsked,
    FilesOfBsp,
    FilesOfBucket,
)
from graph.transport.file_routes import file_path

DOWNLOAD_WITHIN = timedelta(hours=1)

Under = Annotated[
    str | None, argument("Only what lies in this folder, such as `reports/2026`, at any depth.")
]


class ReplicaRow(NamedTuple):
    """One copy of a file."""

    bsp_id: UUID


@strawberry.enum(description="How far a file has come.")
class FileStatus(Enum):
    """As it stands in the table too."""

    PENDING = enum_value("PENDING", "It waits for its bytes; its room is kept for a day.")
    STORED = enum_value("STORED", "Its bytes are there, whole.")
    DELETING = enum_value("DELETING", "It is deleted; its bytes are about to go.")


@strawberry.type(description="A copy of a file at a provider.")
class Replica:
    """Read from a ReplicaRow."""

    @field("Who keeps it.", type="Bsp")
    async def bsp(root: strawberry.Parent[ReplicaRow], info: Info) -> BspRow | None:
        return await BspById.of(info.context).load(root.bsp_id)


@strawberry.type(description="A file: bytes at a location in a bucket.")
@node("file", row=FileRow, loader=FileById)
class File(Node):
    """Read from a FileRow."""

    location: str = attribute("Its path within the bucket, unique there; folders end with `/`.")
    size: int = attribute("How many bytes it has.", type=BigInt)
    content_type: str = attribute("The media type it was declared with.")
    desired_replicas: int = attribute("How many providers keep a copy.")
    created_at: datetime = attribute("When it was made.")
    updated_at: datetime = attribute("When its status last changed.")

    @field("SHA-256 over owner, bucket, location, size and fingerprint; null until it is stored.")
    def key(root: strawberry.Parent[FileRow]) -> str | None:
        return root.key.hex() if root.key else None

    @field("SHA-256 of the bytes, in hex; null until they are there.")
    def fingerprint(root: strawberry.Parent[FileRow]) -> str | None:
        return root.fingerprint.hex() if root.fingerprint else None

    @field("How far it has come.")
    def status(root: strawberry.Parent[FileRow]) -> FileStatus:
        return FileStatus(root.status)

    @field("Where it is; null once it is deleted.", type="Bucket | None")
    async def bucket(root: strawberry.Parent[FileRow], info: Info) -> BucketRow | None:
        if root.bucket_id is None:
            return None
        return await BucketById.of(info.context).load(root.bucket_id)

    @field("Its copies at providers.", type=list[Replica])
    async def replicas(root: strawberry.Parent[FileRow], info: Info) -> list[ReplicaRow]:
        found = await BspsOfFile.of(info.context).load(root.id)
        return [ReplicaRow(bsp_id) for bsp_id in found or ()]

    @field("Where to GET the bytes within the hour, ranges too; null until they are there.")
    async def download_url(root: strawberry.Parent[FileRow], info: Info) -> str | None:
        if root.status != STORED or root.object_id is None:
            return None
        services = info.context.services
        key = object_key(root.id, root.object_id)
        at_the_store = await services.objects.link(key, expires_in=DOWNLOAD_WITHIN)
        if at_the_store is not None:
            return at_the_store
        signed = Links(services.keys).sign("GET", file_path(root.id), expires_in=DOWNLOAD_WITHIN)
        return info.context.base_url + signed


@strawberry.type(description="A named set of files.")
@node("bucket", row=BucketRow, loader=BucketById)
class Bucket(Node):
    """Read from a BucketRow."""

    name: str = attribute("Its name, unique among its owner's.")
    private: bool = attribute("Whether only its owner reads it; else every signed-in user does.")
    file_count: int = attribute("How many files it holds, those included that wait for bytes.")
    total_size: int = attribute("What their sizes add up to.", type=BigInt)
    created_at: datetime = attribute("When it was made.")
    updated_at: datetime = attribute(
        "When it was last changed; its files coming and going is none."
    )
    version: int = attribute("Grows with every change; see `expectedVersion`.")

    @field("Its files by location.", type=Connection[File])
    async def files(
        root: strawberry.Parent[BucketRow],
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        under: Under = None,
    ) -> Listing:
        asked = window(info.context, first=first, after=after, last=last, before=before)
        return await FilesOfBucket.listing(info.context, FilesAsked(root.id, asked, under))


@strawberry.type(description="A backup storage provider: who keeps copies of files.")
@node("bsp", row=BspRow, loader=BspById)
class Bsp(Node):
    """Read from a BspRow."""

    account: str = attribute("Whose it is, unique among providers.")
    capacity: int = attribute("How many bytes it can keep.", type=BigInt)
    used_capacity: int = attribute("How many bytes it keeps.", type=BigInt)
    free_capacity: int = attribute("How many more it can keep.", type=BigInt)
    multiaddresses: list[str] = attribute(
        "Where it is reached, such as `/dns/bsp.example/tcp/443`."
    )
    created_at: datetime = attribute("When it was registered.")
    updated_at: datetime = attribute("When it was last changed; files coming and going is none.")
    version: int = attribute("Grows with every change; see `expectedVersion`.")

    @field("My files that it keeps, newest first.", type=Connection[File])
    async def files(
        root: strawberry.Parent[BspRow],
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Listing:
        asked = window(info.context, first=first, after=after, last=last, before=before)
        return await FilesOfBsp.listing(info.context, FilesAsked(root.id, asked))


def parse_key(key: str) -> bytes:
    """The SHA-256 that a file's `key` spells."""
    if re.fullmatch(r"[0-9a-f]{64}", key) is None:
        raise BadInput(
            "`key` is not the key of a file.",
            hint="Pass on a `key` as it came: 64 hex digits.",
            field="key",
        )
    return bytes.fromhex(key)

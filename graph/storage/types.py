"""GraphQL types of storage: providers, buckets and files."""

import re
from datetime import datetime, timedelta
from typing import Annotated, NamedTuple
from uuid import UUID

import strawberry

from db.errors import BadInput
from db.kit.lists.paging import Window
from db.storage import (
    UPLOAD_WITHIN,
    BspRow,
    BucketRow,
    FileRow,
    FileStatus,
)
from db.users import AccessTokenScope
from graph.context import Context, Info
from graph.kit.fields import argument, attribute, field, graphql_enum
from graph.kit.ids import Node, node
from graph.kit.paging import Connection, paged_by
from graph.kit.scalars import BigInt
from graph.kit.scopes import STORAGE
from graph.kit.signed_links import sign_link
from graph.storage.loaders import (
    BspById,
    BspsOfFile,
    BucketById,
    FileById,
    FilesOfBsp,
    FilesOfBucket,
    FilesQuery,
    FoldersOfBucket,
)
from graph.transport.files.file_routes import file_path

DOWNLOAD_LINK_LIFETIME = timedelta(hours=1)

Under = Annotated[
    str | None,
    argument(
        "Folder such as `reports/2026`. Only files in it or its subfolders are returned. "
        "Omit it for the whole bucket."
    ),
]
Recursive = Annotated[
    bool,
    argument(
        "If true, files in subfolders are included. If false, only files directly in the folder "
        "`under`, or directly in the bucket, are returned. Defaults to true. Cursors "
        "of the two lists are not interchangeable."
    ),
]
UnderOneLevel = Annotated[
    str | None,
    argument(
        "Folder such as `reports/2026`. Only folders directly in it are returned. Omit it for "
        "those directly in the bucket."
    ),
]


class FileReplica(NamedTuple):
    """One copy of a file."""

    bsp_id: UUID


graphql_enum(
    "Upload state of a file.",
    PENDING="The bytes have not been uploaded. The reservation expires 24 hours after creation.",
    STORED="The upload is complete and the file can be downloaded.",
    DELETING="The file was deleted and its bytes are being removed.",
)(FileStatus)


@strawberry.type(description="A copy of a file stored by a provider.")
class Replica:
    @field("Provider that stores the copy.", type="Bsp")
    async def bsp(root: strawberry.Parent[FileReplica], info: Info) -> BspRow | None:
        return await BspById.of(info.context).load(root.bsp_id)


@strawberry.type(
    description="A file in a bucket. Created by `createFile`, then uploaded over HTTP."
)
@node("file", row=FileRow, loader=FileById, scopes=STORAGE.read)
class File(Node):
    location: str = attribute("Path within the bucket, unique there. Folders are separated by `/`.")
    name: str = attribute("Last part of `location`, without the folders.")
    size: int = attribute("Size in bytes.", type=BigInt)
    content_type: str = attribute("Media type declared in `createFile` or `replaceFile`.")
    desired_replicas: int = attribute("Number of providers that store a copy.")
    created_at: datetime = attribute("Time the file was created.")
    updated_at: datetime = attribute("Time the file last changed.")
    version: int = attribute(
        "Increases with every change. Pass it as `expectedVersion` to detect concurrent updates. "
        "Starting a replacement is no change, but its completion is."
    )

    @field(
        "SHA-256 of owner, bucket, location, size and fingerprint, as 64 hexadecimal digits. "
        "Null unless `status` is `STORED`.",
        reads=["key"],
    )
    def key(root: strawberry.Parent[FileRow]) -> str | None:
        return root.key.hex() if root.key else None

    @field(
        "SHA-256 of the bytes, as 64 hexadecimal digits. Null until the upload is complete.",
        reads=["fingerprint"],
    )
    def fingerprint(root: strawberry.Parent[FileRow]) -> str | None:
        return root.fingerprint.hex() if root.fingerprint else None

    @field("Upload state.", type=FileStatus, reads=["status"])
    def status(root: strawberry.Parent[FileRow]) -> str:
        return root.status

    @field(
        "Bucket that contains the file. Null once the file is deleted.",
        type="Bucket | None",
        reads=["bucket_id"],
    )
    async def bucket(root: strawberry.Parent[FileRow], info: Info) -> BucketRow | None:
        if root.bucket_id is None:
            return None
        return await BucketById.of(info.context).load(root.bucket_id)

    @field("Copies of the file stored by providers.", type=list[Replica], reads=["id"])
    async def replicas(root: strawberry.Parent[FileRow], info: Info) -> list[FileReplica]:
        found = await BspsOfFile.of(info.context).load(root.id)
        return [FileReplica(bsp_id) for bsp_id in found or ()]

    @field(
        "Signed URL from which the bytes can be downloaded, with support for range requests. "
        "Valid for one hour, until the viewer signs out. Null unless `status` is `STORED`.",
        reads=["id", "status", "object_id"],
    )
    def download_url(root: strawberry.Parent[FileRow], info: Info) -> str | None:
        if root.status != FileStatus.STORED or root.object_id is None:
            return None
        path = file_path(root.id)
        return sign_link(info.context, "GET", path, expires_in=DOWNLOAD_LINK_LIFETIME)

    @field(
        "Signed URL to which the owner sends the bytes: with one `PUT`, or with a client of tus "
        "1.0, which resumes after an interruption. Valid for 24 hours, until the viewer signs out. "
        "Null unless the viewer is the owner and bytes are expected: `status` is `PENDING`, or a "
        "replacement was started by `replaceFile` and is not complete. Null also for an access "
        "token without the scope `STORAGE_WRITE`.",
        reads=["id", "owner_id", "status", "replacement_id", "replacement_size"],
    )
    def upload_url(root: strawberry.Parent[FileRow], info: Info) -> str | None:
        viewer = info.context.signed_in
        if root.owner_id != viewer.owner or not viewer.may(AccessTokenScope.STORAGE_WRITE):
            return None
        is_expected = root.status == FileStatus.PENDING or root.replacement_size is not None
        return upload_link(info.context, root) if is_expected else None


def upload_link(context: Context, file: FileRow) -> str:
    """The link for the bytes that a file waits for."""
    replacement_id = None if file.replacement_size is None else file.replacement_id
    path = file_path(file.id, replacement_id)
    return sign_link(context, "PUT", path, expires_in=UPLOAD_WITHIN)


@strawberry.type(
    description="A folder of a bucket. It is derived from the locations of files: it exists while "
    "files are in it or in its subfolders."
)
class Folder:
    name: str = attribute("Last part of `path`.")
    path: str = attribute(
        "Path within the bucket, such as `reports/2026`. Pass it as `under` to list what the "
        "folder contains."
    )


@strawberry.type(description="A named collection of files.")
@node("bucket", row=BucketRow, loader=BucketById, scopes=STORAGE.read)
class Bucket(Node):
    name: str = attribute("Name, unique among the buckets of its owner.")
    private: bool = attribute(
        "If true, only the owner can read the bucket and its files. "
        "If false, every signed-in user can."
    )
    file_count: int = attribute(
        "Number of files in the bucket, including files with status `PENDING`."
    )
    total_size: int = attribute(
        "Sum of the sizes of all files in the bucket, in bytes.", type=BigInt
    )
    created_at: datetime = attribute("Time the bucket was created.")
    updated_at: datetime = attribute(
        "Time the bucket was last changed. Adding or removing files does not count."
    )
    version: int = attribute(
        "Increases with every change. Pass it as `expectedVersion` to detect concurrent updates."
    )

    @field(
        "True if the viewer owns the bucket. Only its owner can change it, and add, move or delete "
        "its files.",
        reads=["owner_id"],
    )
    def owned_by_viewer(root: strawberry.Parent[BucketRow], info: Info) -> bool:
        return root.owner_id in {None, info.context.owner}

    @field(
        "Lists the files in the bucket, sorted by `location`.",
        type=Connection[File],
        reads=["id"],
    )
    @paged_by(FilesOfBucket)
    def files(
        root: strawberry.Parent[BucketRow],
        window: Window,
        under: Under = None,
        recursive: Recursive = True,  # noqa: FBT002 - an argument of the field, passed by name
    ) -> FilesQuery:
        return FilesQuery(root.id, window, under, recursive)

    @field(
        "Lists the folders on one level of the bucket, in the order of the locations of their "
        "files. Together with `files(recursive: false)` it shows what a folder contains.",
        type=Connection[Folder],
        reads=["id"],
    )
    @paged_by(FoldersOfBucket)
    def folders(
        root: strawberry.Parent[BucketRow], window: Window, under: UnderOneLevel = None
    ) -> FilesQuery:
        return FilesQuery(root.id, window, under)


@strawberry.type(description="A backup storage provider (BSP), which stores copies of files.")
@node("bsp", row=BspRow, loader=BspById, scopes=STORAGE.read)
class Bsp(Node):
    account: str = attribute("Account name of the provider, unique among providers.")
    capacity: int = attribute("Capacity in bytes.", type=BigInt)
    used_capacity: int = attribute("Bytes used by the files it stores.", type=BigInt)
    free_capacity: int = attribute(
        "Bytes still available: `capacity` minus `usedCapacity`.", type=BigInt
    )
    multiaddresses: list[str] = attribute(
        "Network addresses of the provider, such as `/dns/bsp.example/tcp/443`."
    )
    created_at: datetime = attribute("Time the provider was registered.")
    updated_at: datetime = attribute(
        "Time the provider was last changed. Storing or removing files does not count."
    )
    version: int = attribute(
        "Increases with every change. Pass it as `expectedVersion` to detect concurrent updates."
    )

    @field(
        "Lists the viewer's files that the provider stores, newest first.",
        type=Connection[File],
        reads=["id"],
    )
    @paged_by(FilesOfBsp)
    def files(root: strawberry.Parent[BspRow], window: Window) -> FilesQuery:
        return FilesQuery(root.id, window)


def parse_key(key: str) -> bytes:
    """The SHA-256 that the `key` of a file encodes.

    Raises:
        BadInput: `key` is not 64 lowercase hexadecimal digits.
    """
    if re.fullmatch(r"[0-9a-f]{64}", key) is None:
        raise BadInput(
            "`key` is not a valid file key.",
            hint="Pass the `key` of a file unchanged: 64 lowercase hexadecimal digits.",
            field="key",
        )
    return bytes.fromhex(key)

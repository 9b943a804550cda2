"""Inputs and payloads of storage. The values are validated in `db.storage`."""

import strawberry

from db.storage import BspRow, BucketRow, FileRow
from graph.kit.fields import attribute, optional, retry_key, version_guard
from graph.kit.scalars import BigInt
from graph.storage.types import Bsp, Bucket, File


@strawberry.input(description="Input of `createBsp`.")
class CreateBspInput:
    account: str = attribute("Account name of the provider, 1 to 200 characters, unique.")
    capacity: BigInt = attribute("Capacity in bytes, 0 or more.")
    multiaddresses: list[str] = attribute(
        "Network addresses of the provider, such as `/dns/bsp.example/tcp/443`. Up to 32. "
        "Each consists of a host and a TCP or UDP port."
    )
    idempotency_key: str | None = retry_key("the provider that the first created")


@strawberry.input(description="Input of `updateBspCapacity`.")
class UpdateBspCapacityInput:
    id: strawberry.ID = attribute("ID of the provider to update.")
    capacity: BigInt = attribute(
        "New capacity in bytes. Must be at least the provider's `usedCapacity`."
    )
    expected_version: int | None = version_guard("provider")


@strawberry.input(description="Input of `setBspMultiaddresses`.")
class SetBspMultiaddressesInput:
    id: strawberry.ID = attribute("ID of the provider to update.")
    multiaddresses: list[str] = attribute(
        "Complete list of network addresses, up to 32. Replaces the current list."
    )
    expected_version: int | None = version_guard("provider")


@strawberry.input(description="Input of `deleteBsp`.")
class DeleteBspInput:
    id: strawberry.ID = attribute("ID of the provider to delete. It must not store any files.")
    expected_version: int | None = version_guard("provider")


@strawberry.input(description="Input of `createBucket`.")
class CreateBucketInput:
    name: str = attribute("Name, 1 to 100 characters, unique among the viewer's buckets.")
    private: bool = optional(
        "If true, only the viewer can read the bucket. If false, every signed-in user can. "
        "Defaults to true.",
        default=True,
    )
    idempotency_key: str | None = retry_key("the bucket that the first created")


@strawberry.input(description="Input of `updateBucket`. Omitted fields keep their value.")
class UpdateBucketInput:
    id: strawberry.ID = attribute("ID of the bucket to update.")
    name: str | None = optional(
        "New name, 1 to 100 characters, unique among the viewer's buckets. Cannot be null."
    )
    private: bool | None = optional(
        "True hides the bucket from all other users, false lets every signed-in user read it. "
        "Cannot be null."
    )
    expected_version: int | None = version_guard("bucket")


@strawberry.input(description="Input of `deleteBucket`.")
class DeleteBucketInput:
    id: strawberry.ID = attribute("ID of the bucket to delete.")
    with_files: bool = optional(
        "If true, the files in the bucket are deleted as well. If false, deleting a bucket that "
        "contains files fails with `CONFLICT`. Defaults to false.",
        default=False,
    )


@strawberry.input(description="Input of `createFile`.")
class CreateFileInput:
    bucket_id: strawberry.ID = attribute("ID of the bucket that will contain the file.")
    location: str = attribute(
        "Path within the bucket, such as `reports/2026/May.pdf`. Up to 1000 characters, "
        "unique within the bucket."
    )
    size: BigInt = attribute("Size in bytes, 0 or more. The upload must have exactly this size.")
    content_type: str | None = optional(
        "Media type of the file. Defaults to `application/octet-stream`.",
        default="application/octet-stream",
    )
    desired_replicas: int = optional(
        "Number of providers that store a copy, 0 to 20. Defaults to 0.", default=0
    )
    idempotency_key: str | None = retry_key("the file that the first created")


@strawberry.input(description="Input of `moveFile`.")
class MoveFileInput:
    id: strawberry.ID = attribute("ID of the file to move.")
    bucket_id: strawberry.ID | None = optional(
        "ID of the bucket to move the file to, which the viewer must own. Omit it to keep the "
        "bucket. Cannot be null."
    )
    location: str | None = optional(
        "New path within the bucket, such as `reports/2026/May.pdf`. Up to 1000 characters, unique "
        "within the bucket. Omit it to keep the path. Cannot be null."
    )
    expected_version: int | None = version_guard("file")


@strawberry.input(description="Input of `replaceFile`.")
class ReplaceFileInput:
    id: strawberry.ID = attribute("ID of the file. Its `status` must be `STORED`.")
    size: BigInt = attribute(
        "Size of the new bytes, 0 or more. The upload must have exactly this size."
    )
    content_type: str | None = optional(
        "Media type of the new bytes. Defaults to the present media type of the file."
    )
    expected_version: int | None = version_guard("file")


@strawberry.input(description="Input of `deleteFile`.")
class DeleteFileInput:
    id: strawberry.ID = attribute("ID of the file to delete.")


@strawberry.type(description="Payload of `createBsp`.")
class CreateBspPayload:
    bsp: BspRow = attribute("The registered provider.", type=Bsp)


@strawberry.type(description="Payload of `updateBspCapacity`.")
class UpdateBspCapacityPayload:
    bsp: BspRow = attribute("The updated provider.", type=Bsp)


@strawberry.type(description="Payload of `setBspMultiaddresses`.")
class SetBspMultiaddressesPayload:
    bsp: BspRow = attribute("The updated provider.", type=Bsp)


@strawberry.type(description="Payload of `deleteBsp`.")
class DeleteBspPayload:
    deleted_bsp_id: strawberry.ID = attribute("ID of the deleted provider.")


@strawberry.type(description="Payload of `createBucket`.")
class CreateBucketPayload:
    bucket: BucketRow = attribute("The created bucket.", type=Bucket)


@strawberry.type(description="Payload of `updateBucket`.")
class UpdateBucketPayload:
    bucket: BucketRow = attribute("The updated bucket.", type=Bucket)


@strawberry.type(description="Payload of `deleteBucket`.")
class DeleteBucketPayload:
    deleted_bucket_id: strawberry.ID = attribute("ID of the deleted bucket.")


@strawberry.type(description="Payload of `createFile`.")
class CreateFilePayload:
    file: FileRow = attribute(
        "The created file. Its status is `PENDING` until the upload is complete.", type=File
    )
    upload_url: str = attribute(
        "Signed URL to which the client sends the bytes: with one `PUT`, or with a client of tus "
        "1.0, which resumes after an interruption. Valid for 24 hours."
    )


@strawberry.type(description="Payload of `moveFile`.")
class MoveFilePayload:
    file: FileRow = attribute("The file at its new location.", type=File)


@strawberry.type(description="Payload of `replaceFile`.")
class ReplaceFilePayload:
    file: FileRow = attribute(
        "The file. It describes and serves the old bytes until the upload is complete.", type=File
    )
    upload_url: str = attribute(
        "Signed URL to which the client sends the new bytes: with one `PUT`, or with a client of "
        "tus 1.0, which resumes after an interruption. Valid for 24 hours."
    )


@strawberry.type(description="Payload of `deleteFile`.")
class DeleteFilePayload:
    deleted_file_id: strawberry.ID = attribute("ID of the deleted file.")

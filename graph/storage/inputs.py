"""What mutations of storage take and answer."""

import strawberry

from db.storage import BspRow, BucketRow, FileRow
from graph.kit.fields import attribute, optional
from graph.kit.scalars import BigInt
from graph.storage.types import Bsp, Bucket, File

_ONCE = "Makes a retry safe: one key, one thing, for 24 hours."
_IF_STILL = "Change it only if this is still its `version`."


@strawberry.input(description="A provider to register.")
class CreateBspInput:
    """Checked in db.storage."""

    account: str = attribute("Whose it is: 1 to 200 characters, unique.")
    capacity: BigInt = attribute("How many bytes it can keep.")
    multiaddresses: list[str] = attribute("Where it is reached: host, then tcp or udp.")
    idempotency_key: str | None = optional(_ONCE)


@strawberry.input(description="A provider's new capacity.")
class UpdateBspCapacityInput:
    """Checked in db.storage."""

    id: strawberry.ID = attribute("Which provider.")
    capacity: BigInt = attribute("How many bytes it can keep; never under what it keeps.")
    expected_version: int | None = optional(_IF_STILL)


@strawberry.input(description="A provider's new addresses.")
class SetBspMultiaddressesInput:
    """Checked in db.storage."""

    id: strawberry.ID = attribute("Which provider.")
    multiaddresses: list[str] = attribute("All of them; the former ones go.")


@strawberry.input(description="A provider to delete.")
class DeleteBspInput:
    """Names it."""

    id: strawberry.ID = attribute("Which provider; it must keep no file.")


@strawberry.input(description="A bucket to make.")
class CreateBucketInput:
    """Checked in db.storage."""

    name: str = attribute("Its name: 1 to 100 characters, unique among mine.")
    private: bool = optional("Whether only I may read it.", default=True)
    idempotency_key: str | None = optional(_ONCE)


@strawberry.input(description="A bucket's new name.")
class RenameBucketInput:
    """Checked in db.storage."""

    id: strawberry.ID = attribute("Which bucket.")
    name: str = attribute("Its new name.")
    expected_version: int | None = optional(_IF_STILL)


@strawberry.input(description="A bucket to delete.")
class DeleteBucketInput:
    """Names it."""

    id: strawberry.ID = attribute("Which bucket.")
    with_files: bool = optional(
        "Delete its files too; without it, it must be empty.", default=False
    )


@strawberry.input(description="A file to make room for.")
class CreateFileInput:
    """Checked in db.storage."""

    bucket_id: strawberry.ID = attribute("Into which bucket.")
    location: str = attribute("Its path there, such as `reports/2026/May.pdf`.")
    size: BigInt = attribute("How many bytes will come.")
    content_type: str | None = optional("Their media type; absent is application/octet-stream.")
    desired_replicas: int = optional("How many providers shall keep a copy.", default=0)
    idempotency_key: str | None = optional(_ONCE)


@strawberry.input(description="A file to delete.")
class DeleteFileInput:
    """Names it."""

    id: strawberry.ID = attribute("Which file.")


@strawberry.type(description="The provider that was registered.")
class CreateBspPayload:
    """Holds it."""

    bsp: BspRow = attribute("The new provider.", type=Bsp)


@strawberry.type(description="The provider that was changed.")
class UpdateBspCapacityPayload:
    """Holds it."""

    bsp: BspRow = attribute("The provider as it is now.", type=Bsp)


@strawberry.type(description="The provider that was changed.")
class SetBspMultiaddressesPayload:
    """Holds it."""

    bsp: BspRow = attribute("The provider as it is now.", type=Bsp)


@strawberry.type(description="The provider that was deleted.")
class DeleteBspPayload:
    """Names it."""

    deleted_bsp_id: strawberry.ID = attribute("The id it had.")


@strawberry.type(description="The bucket that was made.")
class CreateBucketPayload:
    """Holds it."""

    bucket: BucketRow = attribute("The new bucket.", type=Bucket)


@strawberry.type(description="The bucket that was renamed.")
class RenameBucketPayload:
    """Holds it."""

    bucket: BucketRow = attribute("The bucket as it is now.", type=Bucket)


@strawberry.type(description="The bucket that was deleted.")
class DeleteBucketPayload:
    """Names it."""

    deleted_bucket_id: strawberry.ID = attribute("The id it had.")


@strawberry.type(description="The file that was made, and where its bytes go.")
class CreateFilePayload:
    """Holds both."""

    file: FileRow = attribute("The new file; PENDING until its bytes are there.", type=File)
    upload_url: str = attribute("Where to PUT the bytes within a day.")


@strawberry.type(description="The file that was deleted.")
class DeleteFilePayload:
    """Names it."""

    deleted_file_id: strawberry.ID = attribute("The id it had.")

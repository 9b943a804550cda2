"""The errors of storage, shared by PostgreSQL and the in-memory twin."""

from uuid import UUID

from db.errors import Conflict, NotFound, TooLarge
from db.storage.rows import FileRow, Quota

ACCOUNT_TAKEN = (
    "A provider with this account already exists.",
    "Choose another account, or update the existing provider.",
    "account",
)
STILL_HAS_FILES = (
    "This provider still stores files.",
    "Delete those files first. Set the capacity to what is used to keep new files away.",
    "id",
)
NAME_TAKEN = (
    "A bucket of yours already has this name.",
    "Choose another name: names are unique among your buckets.",
    "name",
)
LOCATION_TAKEN = (
    "A file already exists at this location.",
    "Choose another location, or delete that file first.",
    "location",
)


def conflict(error: tuple[str, str, str | None]) -> Conflict:
    message, hint, field = error
    return Conflict(message, hint=hint, field=field)


def capacity_in_use(used: int) -> Conflict:
    return Conflict(
        f"{used} bytes of this provider are in use.",
        hint=f"Set a capacity of at least {used}, or delete files that it stores.",
        field="capacity",
    )


def bucket_not_empty(count: int) -> Conflict:
    return Conflict(
        f"This bucket contains {count} file(s).",
        hint="Delete them first, or set `withFiles: true`.",
        field="withFiles",
    )


def insufficient_capacity(wanted: int, found: int, size: int) -> Conflict:
    return Conflict(
        f"`desiredReplicas` is {wanted}, but the number of providers with {size} free bytes is "
        f"{found}.",
        hint="Lower `desiredReplicas`, or ask an admin to add capacity.",
        field="desiredReplicas",
    )


def upload_not_pending() -> Conflict:
    return Conflict(
        "This file does not accept an upload.",
        hint="Query its `status`: it is stored, deleted, or was created more than a day ago. "
        "To upload again, call `createFile` or `replaceFile`.",
    )


def nothing_to_replace() -> Conflict:
    return Conflict(
        "This file has no bytes that could be replaced.",
        hint="Send the bytes to its `uploadUrl`. For another size, delete it and create a new one.",
        field="id",
    )


def replacement_not_pending() -> Conflict:
    return Conflict(
        "This replacement does not accept an upload.",
        hint="It is complete, a later one was started, or it was started more than a day ago. "
        "To replace the bytes again, call `replaceFile`.",
    )


def file_deleted() -> NotFound:
    return NotFound(
        "This file was deleted.", hint="Read the list again, or create a new file.", field="id"
    )


def check_quota(quota: Quota, used: Quota, *, more: int, files: int = 1) -> None:
    """Raises TooLarge if `files` more files of `more` bytes exceed the quota of a user."""
    used_bytes, used_files = used.bytes or 0, used.files or 0
    if quota.files is not None and used_files + files > quota.files:
        raise TooLarge(
            f"You have {used_files} files; the limit is {quota.files}.",
            hint="Delete files, or ask the operator to raise HOWDAH_STORAGE_FILES_PER_USER.",
        )
    if quota.bytes is not None and (files or more) and used_bytes + more > quota.bytes:
        raise TooLarge(
            f"You store {used_bytes} bytes; {more} more exceed the limit of {quota.bytes}.",
            hint="Delete files, or ask the operator to raise HOWDAH_STORAGE_BYTES_PER_USER.",
            field="size",
        )


def check_replacement_quota(quota: Quota, used: Quota, file: FileRow, *, size: int) -> None:
    """Like `check_quota`, for new bytes of a file: the larger one of both sizes counts.

    `used` contains what a pending replacement adds, which the new one cancels.
    """
    reserved = max(0, (file.replacement_size or 0) - file.size)
    rest = Quota(bytes=(used.bytes or 0) - reserved, files=used.files)
    check_quota(quota, rest, more=max(0, size - file.size), files=0)


def check_replaced(file: FileRow, replacement_id: UUID, fingerprint: bytes) -> None:
    """Raises an error unless the replacement is complete with these bytes."""
    if file.bucket_id is None:
        raise file_deleted()
    is_complete = file.replacement_id == replacement_id and file.replacement_size is None
    if not is_complete or file.fingerprint != fingerprint:
        raise replacement_not_pending()

"""What storage says no to, in the same words whichever twin keeps the rows."""

from db.errors import Conflict, TooLarge
from db.storage.rows import Quota

ACCOUNT_TAKEN = (
    "This account has a provider already.",
    "Take another account, or change the provider there is.",
    "account",
)
STILL_HAS_FILES = (
    "This provider still keeps files.",
    "Delete those files first; capacity 0 keeps new ones away.",
    "id",
)
NAME_TAKEN = (
    "You have a bucket of this name already.",
    "Take another name; yours are told apart by it.",
    "name",
)
LOCATION_TAKEN = (
    "There is a file at this location already.",
    "Take another location, or delete that file first.",
    "location",
)


def conflict(words: tuple[str, str, str | None]) -> Conflict:
    message, hint, field = words
    return Conflict(message, hint=hint, field=field)


def capacity_in_use(used: int) -> Conflict:
    return Conflict(
        f"{used} bytes of this provider are in use.",
        hint=f"Set a capacity of at least {used}, or delete files that it keeps.",
        field="capacity",
    )


def bucket_not_empty(count: int) -> Conflict:
    return Conflict(
        f"This bucket still holds {count} file(s).",
        hint="Delete them first, or send `withFiles: true`.",
        field="withFiles",
    )


def insufficient_capacity(wanted: int, found: int, size: int) -> Conflict:
    return Conflict(
        f"Of {wanted} providers that shall keep this file, {found} have room for {size} bytes.",
        hint="Ask for fewer `desiredReplicas`, or have an admin add capacity.",
        field="desiredReplicas",
    )


def upload_not_pending() -> Conflict:
    return Conflict(
        "This file no longer waits for bytes.",
        hint="It was stored, deleted, or given up after a day; read it, or create it anew.",
    )


def check_quota(quota: Quota, used: Quota, *, more: int) -> None:
    """Raises when one more file of `more` bytes goes beyond what a user may keep."""
    used_bytes, used_files = used.bytes or 0, used.files or 0
    if quota.files is not None and used_files + 1 > quota.files:
        raise TooLarge(
            f"You keep {used_files} files; {quota.files} are the most.",
            hint="Delete some, or ask the operator for more (HOWDAH_STORAGE_FILES_PER_USER).",
        )
    if quota.bytes is not None and used_bytes + more > quota.bytes:
        raise TooLarge(
            f"You keep {used_bytes} bytes; with {more} more it is over your {quota.bytes}.",
            hint="Delete some, or ask the operator for more (HOWDAH_STORAGE_BYTES_PER_USER).",
            field="size",
        )

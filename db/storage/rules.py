"""The rules for values of storage, shared by PostgreSQL and the in-memory twin."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from db.errors import BadInput
from db.kit.number_rules import require_between
from db.kit.text_rules import Required
from db.storage import multiaddresses
from db.storage.rows import NewBsp, NewFile

MAX_BIGINT = 2**63 - 1
MAX_REPLICAS = 20
MAX_ADDRESSES = 32
MAX_CONTENT_TYPE_LENGTH = 255

account_rule = Required("account", max_length=200)
bucket_name_rule = Required("name", max_length=100)
location_rule = Required("location", max_length=1_000)
under_rule = Required("under", max_length=1_000)
_EXAMPLES = {"location": "reports/2026/May.pdf", "under": "reports/2026"}

# PostgreSQL limits an entry of a B-tree index to 2,704 bytes.
_MAX_LOCATION_BYTES = 2_000
# Control, surrogate, line and paragraph separators; format characters such as right-to-left marks.
_INVISIBLE = {"Cc", "Cs", "Zl", "Zp", "Cf"}
_JOINERS = {"\u200c", "\u200d"}  # invisible too, but required to spell words in some scripts
_CONTENT_TYPE = re.compile(
    r"[a-z0-9!#$&^_.+-]{1,100}/[a-z0-9!#$&^_.+-]{1,100}"
    r"(; ?[a-z0-9!#$&^_.+-]{1,50}=([a-z0-9!#$&^_.+:/-]{1,100}|\"[ !#-\[\]-~]{0,100}\"))*",
    re.IGNORECASE,
)


def checked_file(new: NewFile) -> NewFile:
    return new._replace(
        location=checked_location(new.location),
        size=require_between("size", new.size, 0, MAX_BIGINT),
        content_type=checked_content_type(new.content_type),
        desired_replicas=require_between("desiredReplicas", new.desired_replicas, 0, MAX_REPLICAS),
    )


def checked_replacement(size: int, content_type: str | None) -> tuple[int, str | None]:
    """Size and media type of new bytes; None keeps the media type of the file."""
    checked_type = None if content_type is None else checked_content_type(content_type)
    return require_between("size", size, 0, MAX_BIGINT), checked_type


def checked_bsp(new: NewBsp) -> NewBsp:
    return NewBsp(
        account_rule.checked(new.account),
        checked_capacity(new.capacity),
        checked_multiaddresses(new.multiaddresses),
    )


def checked_bucket_changes(changes: Mapping[str, Any]) -> dict[str, Any]:
    checked = dict(changes)
    if "name" in checked:
        checked["name"] = bucket_name_rule.checked(checked["name"])
    if "private" in checked and checked["private"] is None:
        raise BadInput(
            "`private` is null.", hint="Pass true or false, or omit it.", field="private"
        )
    return checked


def checked_move(changes: Mapping[str, Any]) -> dict[str, Any]:
    checked = dict(changes)
    if "bucket_id" in checked and checked["bucket_id"] is None:
        raise BadInput(
            "`bucketId` is null.",
            hint="Pass the ID of a bucket, or omit it to keep the bucket.",
            field="bucketId",
        )
    if "location" in checked:
        checked["location"] = checked_location(checked["location"])
    return checked


def checked_capacity(capacity: int) -> int:
    return require_between("capacity", capacity, 0, MAX_BIGINT)


def checked_location(location: str) -> str:
    """Normalizes the path of a file, and raises BadInput if it could be misread or is unsafe."""
    return _checked_path(location_rule, location)


def checked_folder(under: str) -> str:
    """Normalizes the path of a folder, with or without a trailing slash."""
    return _checked_path(under_rule, under.removesuffix("/"))


def folder_prefix(under: str | None) -> str:
    """What the locations in a folder start with; empty for None, which is the whole bucket."""
    return "" if under is None else checked_folder(under) + "/"


def checked_content_type(content_type: str | None) -> str:
    if content_type is None:
        return "application/octet-stream"
    if len(content_type) > MAX_CONTENT_TYPE_LENGTH or not _CONTENT_TYPE.fullmatch(content_type):
        raise BadInput(
            "`contentType` is not a valid media type.",
            hint="Pass a value such as `text/plain; charset=utf-8`, or omit it.",
            field="contentType",
        )
    return content_type


def checked_multiaddresses(addresses: Sequence[str]) -> list[str]:
    """Returns the addresses in their canonical form and original order."""
    if len(addresses) > MAX_ADDRESSES:
        raise _bad_addresses(f"it has {len(addresses)} items; the limit is {MAX_ADDRESSES}")
    canonical = [_canonical(address) for address in addresses]
    if len(set(canonical)) < len(canonical):
        raise _bad_addresses("it contains the same address twice")
    return canonical


def _checked_path(rule: Required, path: str) -> str:
    text = rule.checked(path)
    if len(text.encode()) > _MAX_LOCATION_BYTES:
        problem = f"is longer than {_MAX_LOCATION_BYTES} bytes in UTF-8"
    elif "\\" in text or any(_is_invisible(character) for character in text):
        problem = "contains a backslash or an invisible character"
    elif any(_is_unsafe(part) for part in text.split("/")):
        problem = "has a part that is empty, has surrounding whitespace or ends with a dot"
    else:
        return text
    raise BadInput(
        f"`{rule.field}` {problem}.",
        hint=f"Pass a path such as `{_EXAMPLES[rule.field]}`, without a slash at its start.",
        field=rule.field,
    )


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in _INVISIBLE and character not in _JOINERS


def _is_unsafe(part: str) -> bool:
    """Includes `.` and `..`, which end with a dot."""
    return not part or part != part.strip() or part.endswith(".")


def _canonical(address: str) -> str:
    try:
        return multiaddresses.canonical(address)
    except ValueError as error:
        raise _bad_addresses(f"an address cannot be parsed: {error}") from None


def _bad_addresses(problem: str) -> BadInput:
    return BadInput(
        f"`multiaddresses` is not valid: {problem}.",
        hint="Pass addresses such as `/ip4/203.0.113.7/tcp/30333` or `/dns/bsp.example/tcp/443`.",
        field="multiaddresses",
    )

"""What may be stored under which name: one set of rules, whichever twin keeps the rows."""

import re
import unicodedata
from collections.abc import Sequence

from db.errors import BadInput
from db.kit.text_rules import Required
from db.storage import multiaddresses
from db.storage.rows import NewBsp, NewFile

LARGEST = 2**63 - 1
MOST_REPLICAS = 20
MOST_ADDRESSES = 32

account_rule = Required("account", max_length=200)
bucket_name_rule = Required("name", max_length=100)
location_rule = Required("location", max_length=1_000)
under_rule = Required("under", max_length=1_000)

# An index entry of PostgreSQL must stay under 2,704 bytes.
_LONGEST_LOCATION_BYTES = 2_000
# Control, surrogate, line and paragraph separators; format characters such as right-to-left marks.
_UNSEEN = {"Cc", "Cs", "Zl", "Zp", "Cf"}
_JOINERS = {"\u200c", "\u200d"}  # unseen too, but spelling in some scripts
_CONTENT_TYPE = re.compile(
    r"[a-z0-9!#$&^_.+-]{1,100}/[a-z0-9!#$&^_.+-]{1,100}"
    r"(; ?[a-z0-9!#$&^_.+-]{1,50}=([a-z0-9!#$&^_.+:/-]{1,100}|\"[ !#-\[\]-~]{0,100}\"))*",
    re.IGNORECASE,
)


def checked_file(new: NewFile) -> NewFile:
    return new._replace(
        location=checked_location(new.location),
        size=_between("size", new.size, 0, LARGEST),
        content_type=checked_content_type(new.content_type),
        desired_replicas=_between("desiredReplicas", new.desired_replicas, 0, MOST_REPLICAS),
    )


def checked_bsp(new: NewBsp) -> NewBsp:
    return NewBsp(
        account_rule.checked(new.account),
        checked_capacity(new.capacity),
        checked_multiaddresses(new.multiaddresses),
    )


def checked_capacity(capacity: int) -> int:
    return _between("capacity", capacity, 0, LARGEST)


def checked_location(location: str) -> str:
    """A path of named folders and a name, that shows what it is and means nothing to a disk."""
    return _checked_path(location_rule, location)


def checked_folder(under: str) -> str:
    """A folder to list, its last slash optional."""
    return _checked_path(under_rule, under.removesuffix("/"))


def checked_content_type(content_type: str | None) -> str:
    if content_type is None:
        return "application/octet-stream"
    if len(content_type) > 255 or not _CONTENT_TYPE.fullmatch(content_type):
        raise BadInput(
            "`contentType` is not a media type.",
            hint="Write one such as `text/plain; charset=utf-8`, or leave it out.",
            field="contentType",
        )
    return content_type


def checked_multiaddresses(addresses: Sequence[str]) -> list[str]:
    """Each in its one canonical spelling, none twice, in the order given."""
    if len(addresses) > MOST_ADDRESSES:
        raise _bad_address(f"There are {len(addresses)} of them; {MOST_ADDRESSES} are the most.")
    canonical = [_canonical(address) for address in addresses]
    if len(set(canonical)) < len(canonical):
        raise _bad_address("One of them stands there twice.")
    return canonical


def _checked_path(rule: Required, path: str) -> str:
    text = rule.checked(path)
    if len(text.encode()) > _LONGEST_LOCATION_BYTES:
        problem = f"has more than {_LONGEST_LOCATION_BYTES} bytes in UTF-8"
    elif "\\" in text or any(_is_unseen(character) for character in text):
        problem = "holds a backslash or a character that does not show"
    elif any(_is_tricky(part) for part in text.split("/")):
        problem = "has a part that is empty, or begins or ends with a blank or ends with a dot"
    else:
        return text
    raise BadInput(
        f"`{rule.field}` {problem}.",
        hint="Write a path such as `reports/2026/May.pdf`.",
        field=rule.field,
    )


def _is_unseen(character: str) -> bool:
    return unicodedata.category(character) in _UNSEEN and character not in _JOINERS


def _is_tricky(part: str) -> bool:
    """`..` and `.` among them: they end with a dot."""
    return not part or part != part.strip() or part.endswith(".")


def _canonical(address: str) -> str:
    try:
        return multiaddresses.canonical(address)
    except ValueError as error:
        raise _bad_address(f"One of them cannot be dialled: {error}.") from None


def _bad_address(problem: str) -> BadInput:
    return BadInput(
        f"`multiaddresses` cannot be used. {problem}",
        hint="Write addresses such as `/ip4/203.0.113.7/tcp/30333` or `/dns/bsp.example/tcp/443`.",
        field="multiaddresses",
    )


def _between(field: str, number: int, least: int, most: int) -> int:
    if not least <= number <= most:
        raise BadInput(
            f"`{field}` must be from {least} to {most}.", hint="Take another number.", field=field
        )
    return number

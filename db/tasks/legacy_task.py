"""Validates the records of the old console application by the rules of tasks."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, datetime
from typing import Any, NamedTuple

from db.errors import BadInput
from db.tasks.legacy_file import BrokenFile, parse_records
from db.tasks.repository import description_rule, title_rule

_encode = json.JSONEncoder(default=str).encode
_YES = ("true", "yes", "1")
_NO = ("false", "no", "0", "", None)
_FIRST_MILLISECOND = 100_000_000_000
"""Larger numbers are milliseconds: as seconds, it is the year 5138; as milliseconds, 1973."""


class LegacyTask(NamedTuple):
    """A record that can be imported."""

    imported_as: bytes
    title: str
    description: str | None
    completed: bool
    created_at: datetime | None
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class RejectedRecord:
    """A record that cannot be imported, with the reason."""

    index: int
    reason: str


def parse_legacy_tasks(chunks: Iterable[str]) -> Iterator[LegacyTask | RejectedRecord]:
    """Yields each record. If the file is broken, the last item is a `RejectedRecord` that says why.

    Raises BadInput when the text holds no list of tasks at all.
    """
    seen: Counter[int] = Counter()
    index = 0
    try:
        for record in parse_records(chunks):
            try:
                yield _parse_task(record, seen)
            except BadInput as error:
                yield RejectedRecord(index, f"{error.message} {error.hint}")
            index += 1
    except BrokenFile as error:
        yield RejectedRecord(index, f"{error.message} {error.hint}")


def _parse_task(record: Any, seen: Counter[int]) -> LegacyTask:
    if not isinstance(record, dict):
        raise _rejected("The record is not an object.", 'Use the form {"title": "..."}.')
    title = title_rule.checked(_string(record, "title") or "")
    description = description_rule.checked(_string(record, "description"))
    created_at = _time(record, "created_at")
    same = _encode([_legacy_id(record), title, description, created_at]).encode()
    return LegacyTask(
        _identity(same, seen),
        title,
        description,
        _completed(record),
        created_at,
        _time(record, "updated_at") or created_at,
    )


def _identity(same: bytes, seen: Counter[int]) -> bytes:
    """Identifies the record in repeated imports of the same file.

    Identical records are distinguished by their count. Counting by eight bytes of the hash saves
    memory; on a collision, each run still counts both records in the same way.
    """
    short = int.from_bytes(hashlib.sha256(same).digest()[:8], "big")
    seen[short] += 1
    return hashlib.sha256(b"%d %b" % (seen[short], same)).digest()


def _legacy_id(record: Mapping[str, Any]) -> str | None:
    found = record.get("id")
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float | str):
        raise _rejected("`id` is neither a number nor a string.", "Correct it, or omit it.")
    return str(found)


def _string(record: Mapping[str, Any], name: str) -> str | None:
    found = record.get(name)
    if found is not None and not isinstance(found, str):
        raise _rejected(f"`{name}` is not a string.", "Put it in quotes.")
    return found


def _completed(record: Mapping[str, Any]) -> bool:
    name = "completed" if "completed" in record else "done"
    found = record.get(name)
    value = str(found).strip().lower() if isinstance(found, bool | int | str) else found
    if value in _NO:
        return False
    if value in _YES:
        return True
    raise _rejected(f"`{name}` is not a boolean.", "Use true or false.")


def _time(record: Mapping[str, Any], name: str) -> datetime | None:
    """Parses ISO 8601, or seconds or milliseconds since 1970. Defaults to UTC.

    The file does not contain the time zone, and each import must give the same result.
    """
    found = record.get(name)
    if found is None or found == "":
        return None
    try:
        time = _parse_time(found)
    except (ValueError, OverflowError, OSError):
        time = None
    if (
        time is None or time.year == MAXYEAR
    ):  # asyncpg sends the last second of this year as infinity
        raise _rejected(f"`{name}` is not a valid time.", 'Use the form "2024-05-31T12:00:00Z".')
    return time


def _parse_time(found: Any) -> datetime | None:
    if isinstance(found, str):
        time = datetime.fromisoformat(found.strip())
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    if isinstance(found, int | float) and not isinstance(found, bool):
        seconds = found / 1000 if abs(found) >= _FIRST_MILLISECOND else found
        return datetime.fromtimestamp(seconds, UTC)
    return None


def _rejected(message: str, hint: str) -> BadInput:
    return BadInput(message, hint=hint, field="json")

"""What one record of the old console application says, by today's rules."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, datetime
from typing import Any, NamedTuple

from db.errors import BadInput
from db.tasks.legacy_file import Broken, records
from db.tasks.repository import description_rule, title_rule

_encode = json.JSONEncoder(default=str).encode
_YES = ("true", "yes", "1")
_NO = ("false", "no", "0", "", None)
_FIRST_MILLISECOND = 100_000_000_000
"""Seconds would reach it in the year 5138, milliseconds did in 1973."""


class OldTask(NamedTuple):
    """A record that can be imported."""

    imported_as: bytes
    title: str
    description: str | None
    completed: bool
    created_at: datetime | None
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that cannot be imported, and why."""

    index: int
    reason: str


def old_tasks(chunks: Iterable[str]) -> Iterator[OldTask | Rejected]:
    """Each record of the text; where it breaks, the break is the last one rejected.

    Raises BadInput when the text holds no list of tasks at all.
    """
    seen: Counter[int] = Counter()
    index = 0
    try:
        for record in records(chunks):
            try:
                yield _old_task(record, seen)
            except BadInput as error:
                yield Rejected(index, f"{error.message} {error.hint}")
            index += 1
    except Broken as error:
        yield Rejected(index, f"{error.message} {error.hint}")


def _old_task(record: Any, seen: Counter[int]) -> OldTask:
    if not isinstance(record, dict):
        raise _rejection("The record is no object.", 'Write it like {"title": "..."}.')
    title = title_rule.checked(_text_of(record, "title") or "")
    description = description_rule.checked(_text_of(record, "description"))
    created_at = _moment(record, "created_at")
    same = _encode([_old_id(record), title, description, created_at]).encode()
    return OldTask(
        _identity(same, seen),
        title,
        description,
        _completed(record),
        created_at,
        _moment(record, "updated_at") or created_at,
    )


def _identity(same: bytes, seen: Counter[int]) -> bytes:
    """What a second run of the same file knows the record by.

    Records alike in everything are told apart by their count. It is kept by eight bytes, to save
    memory: should two others ever share them, each run still counts both in the same way.
    """
    short = int.from_bytes(hashlib.sha256(same).digest()[:8], "big")
    seen[short] += 1
    return hashlib.sha256(b"%d %b" % (seen[short], same)).digest()


def _old_id(record: Mapping[str, Any]) -> str | None:
    found = record.get("id")
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float | str):
        raise _rejection(
            "`id` is neither a number nor a text.", "Write it as one, or leave it out."
        )
    return str(found)


def _text_of(record: Mapping[str, Any], name: str) -> str | None:
    found = record.get(name)
    if found is not None and not isinstance(found, str):
        raise _rejection(f"`{name}` is no text.", "Put it in quotes.")
    return found


def _completed(record: Mapping[str, Any]) -> bool:
    name = "completed" if "completed" in record else "done"
    found = record.get(name)
    word = str(found).strip().lower() if isinstance(found, bool | int | str) else found
    if word in _NO:
        return False
    if word in _YES:
        return True
    raise _rejection(f"`{name}` says neither yes nor no.", "Write true or false.")


def _moment(record: Mapping[str, Any], name: str) -> datetime | None:
    """ISO 8601, or seconds or milliseconds since 1970. Without a zone it is taken as UTC.

    The old application's own zone is in no file, and a second run elsewhere must find the same.
    """
    found = record.get(name)
    if found is None or found == "":
        return None
    try:
        moment = _read_moment(found)
    except (ValueError, OverflowError, OSError):
        moment = None
    if moment is None or moment.year == MAXYEAR:  # the driver writes its last second as infinity
        raise _rejection(f"`{name}` is no point in time.", 'Write it like "2024-05-31T12:00:00Z".')
    return moment


def _read_moment(found: Any) -> datetime | None:
    if isinstance(found, str):
        moment = datetime.fromisoformat(found.strip())
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    if isinstance(found, int | float) and not isinstance(found, bool):
        seconds = found / 1000 if abs(found) >= _FIRST_MILLISECOND else found
        return datetime.fromtimestamp(seconds, UTC)
    return None


def _rejection(message: str, hint: str) -> BadInput:
    return BadInput(message, hint=hint, field="json")

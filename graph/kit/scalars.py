"""Custom scalars: large integers, times, rows and JSON."""

from datetime import UTC, datetime
from typing import Any, NewType

import strawberry
from strawberry.types.scalar import ScalarDefinition

from db.kit.base import TimestampText, to_timestamp_text
from graph.executor.hints import leaving_strings, spelling_integers

BigInt = NewType("BigInt", int)
SafeInt = NewType("SafeInt", int)
Json = NewType("Json", object)
Row = NewType("Row", object)

MAX_SAFE_INT = 2**53 - 1


@leaving_strings
def _serialize_time(value: datetime | TimestampText) -> TimestampText:
    """Times from the database are already text; only others are formatted."""
    return to_timestamp_text(value) if isinstance(value, datetime) else value


def _parse_time(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError("a DateTime is a string such as 2026-11-21T10:00:00Z") from None
    if moment.tzinfo is None:
        raise ValueError("a DateTime needs a time zone, as in 2026-11-21T10:00:00Z")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("a DateTime is in the years 1 to 9999 in UTC") from None


def _parse_safe_int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MAX_SAFE_INT:
        raise ValueError(f"a SafeInt is an integer of magnitude up to {MAX_SAFE_INT}")
    return value


def _parse_big_int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError('a BigInt is a string of digits such as "9007199254740993"')  # noqa: TRY004
    text = str(value)
    if (
        len(text) > 20
        or not text.removeprefix("-").isascii()
        or not text.removeprefix("-").isdigit()
    ):
        raise ValueError("a BigInt is a string of at most 20 digits")
    return int(text)


scalar_map: dict[object, ScalarDefinition] = {
    datetime: strawberry.scalar(
        name="DateTime",
        description="A time as an RFC 3339 string in UTC, such as `2026-11-21T10:00:00.12+00:00`. "
        "The texts sort as the times do. Inputs may use any UTC offset.",
        specified_by_url="https://datatracker.ietf.org/doc/html/rfc3339",
        serialize=_serialize_time,
        parse_value=_parse_time,
    ),
    BigInt: strawberry.scalar(
        name="BigInt",
        description="An integer serialized as a string, because it may exceed 2^53. "
        "Inputs may be strings or integers.",
        serialize=spelling_integers(str),
        parse_value=_parse_big_int,
    ),
    SafeInt: strawberry.scalar(
        name="SafeInt",
        description="An integer serialized as a JSON number. May exceed the 32 bits of `Int`, but "
        "not 2^53 - 1.",
        serialize=int,
        parse_value=_parse_safe_int,
    ),
    Row: strawberry.scalar(
        name="Row",
        description="Values of one row, as a JSON list in the order of the columns. NULL, "
        "booleans, int2, int4 and finite floats are JSON values. All other values are strings in "
        "the text format of PostgreSQL.",
        serialize=lambda value: value,
        parse_value=lambda value: value,
    ),
    Json: strawberry.scalar(
        name="JSON",
        description="Any JSON value.",
        specified_by_url="https://datatracker.ietf.org/doc/html/rfc8259",
        serialize=lambda value: value,
        parse_value=lambda value: value,
    ),
}

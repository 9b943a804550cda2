"""Scalars of our own: what JSON's numbers cannot hold, and times as RFC 3339 in UTC."""

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

LARGEST_SAFE = 2**53 - 1


@leaving_strings
def _serialize_time(value: datetime | TimestampText) -> TimestampText:
    """Most times come from the database as they go out."""
    return to_timestamp_text(value) if isinstance(value, datetime) else value


def _parse_time(value: Any) -> datetime:
    if not isinstance(value, str):
        raise ValueError("a time is a string such as 2026-11-21T10:00:00Z")  # noqa: TRY004 - graphql-core words ValueErrors
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("a time needs its zone: 2026-11-21T10:00:00Z")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time lies in the years 1 to 9999 of UTC") from None


def _parse_safe_int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > LARGEST_SAFE:
        raise ValueError(f"a SafeInt is a whole number of at most {LARGEST_SAFE}")
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
        description="A moment, RFC 3339 in UTC: `2026-11-21T10:00:00.123456Z`.",
        specified_by_url="https://datatracker.ietf.org/doc/html/rfc3339",
        serialize=_serialize_time,
        parse_value=_parse_time,
    ),
    BigInt: strawberry.scalar(
        name="BigInt",
        description="An integer as a string, for what may pass 2^53.",
        serialize=spelling_integers(str),
        parse_value=_parse_big_int,
    ),
    SafeInt: strawberry.scalar(
        name="SafeInt",
        description="A whole number as JSON's own, for what may pass 2^31 and never 2^53.",
        serialize=int,
        parse_value=_parse_safe_int,
    ),
    Row: strawberry.scalar(
        name="Row",
        description="The values of one row, a JSON list in the order of the columns. NULL, "
        "booleans, int2, int4 and finite floats are JSON's own; all else is PostgreSQL's text.",
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

"""Keys whose order as bytes is PostgreSQL's order of the values of a type.

A key ends where no other key continues, so that keys can be joined to the key of a row. Types
without a key of their own are ordered by the code points of their text. So are values that cannot
be read, such as dates of another `datestyle`, after those that can.
"""

import math
import re
import struct
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple, TypeAlias

from db.row_scans.type_oids import (
    BOOL,
    BPCHAR,
    DATE,
    FLOAT4,
    FLOAT8,
    INT2,
    INT4,
    INT8,
    INTERVAL,
    NUMERIC,
    OID,
    TIME,
    TIMESTAMP,
    TIMESTAMPTZ,
    TIMETZ,
    UUID,
    XID8,
)

INTEGERS = {INT8, INT2, INT4, OID, XID8}

READABLE, UNREADABLE = b"\x01", b"\x02"
END = b"\x00"
"""Ends a text. PostgreSQL's texts do not contain it."""
MAX_EXPONENT = 200_000
"""The limit of a number to compare with: a numeric has 131,072 digits before its point."""
DAY_US = 86_400_000_000
EPOCH = 10_957
"""Days from 1970 to 2000, from where PostgreSQL counts: its last timestamp fits in 64 bits."""

_INVERTED = bytes(range(255, -1, -1))
_ISO_DATE = r"(\d{4,7})-(\d\d)-(\d\d)"
_CLOCK = r"(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?"
_ZONE = r"([+-])(\d\d)(?::?(\d\d)(?::(\d\d))?)?"
_date = re.compile(rf"{_ISO_DATE}( BC)?").fullmatch
_time = re.compile(_CLOCK).fullmatch
_timetz = re.compile(_CLOCK + _ZONE).fullmatch
_timestamp = re.compile(rf"{_ISO_DATE}(?:[ T]{_CLOCK}(?:{_ZONE}|Z)?)?( BC)?").fullmatch
_span = re.compile(
    r"(?:(?:([+-]?\d+) (year|mon|day)s?)|(?:([+-]?)(\d+):(\d\d):(\d\d)(?:\.(\d{1,6}))?))(?: |$)"
).match
_number = re.compile(r"(-?)(\d*)(?:\.(\d*))?").fullmatch
_uuid = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch

MakeKey: TypeAlias = Callable[[Any], bytes]


class KeyType(NamedTuple):
    """How the values of a type are ordered. Both raise ValueError for a text they cannot read."""

    of_value: MakeKey
    of_text: Callable[[str], bytes]
    """The key of a text that a client compares with."""


def invert(key: bytes) -> bytes:
    """Reverses the order of keys."""
    return key.translate(_INVERTED)


def key_maker(type_oid: int) -> MakeKey:
    """Returns what makes the key of any value of the type, except NULL."""
    kind = KEY_TYPES.get(type_oid)
    if kind is None:
        return lambda value: READABLE + _text_key(value)
    of_value = kind.of_value

    def make(value: Any) -> bytes:
        try:
            return READABLE + of_value(value)
        except (ValueError, TypeError, OverflowError):
            return UNREADABLE + _text_key(str(value))

    return make


def key_of_text(type_oid: int, text: str) -> bytes:
    """The key of a value that a client compares with.

    Raises:
        ValueError: It is not a value of the type.
    """
    kind = KEY_TYPES.get(type_oid)
    if kind is None:
        return READABLE + _text_key(text)
    try:
        return READABLE + kind.of_text(text.strip() if type_oid != BPCHAR else text)
    except (OverflowError, InvalidOperation, struct.error) as error:
        raise ValueError(text) from error


def has_own_order(type_oid: int) -> bool:
    """Whether values are compared as values of their type, and not as text."""
    return type_oid in KEY_TYPES


def _text_key(text: str) -> bytes:
    """The order of UTF-8 bytes is that of code points."""
    return text.encode("utf-8", "surrogatepass") + END


def _padded_key(text: str) -> bytes:
    """The spaces at the end of a `char(n)` do not count."""
    return _text_key(text.rstrip(" "))


def _bool_key(value: bool) -> bytes:  # noqa: FBT001 - a value of a row
    return b"\x01" if value else b"\x00"


def _bool_text_key(text: str) -> bytes:
    word = text.lower()
    if word not in _BOOLEANS:
        raise ValueError(text)
    return _bool_key(_BOOLEANS[word])


_BOOLEANS = {"true": True, "t": True, "false": False, "f": False}


def fixed(number: int) -> bytes:
    return (number + 2**63).to_bytes(8, "big")


def _int_key(value: int | str) -> bytes:
    """An xid8 or oid is not negative, and at most 2**64."""
    return (int(value) + 2**65).to_bytes(9, "big")


def _double_key(value: float | str) -> bytes:
    number = float(value) + 0.0  # -0 equals 0
    if math.isnan(number):  # it is above all others
        return b"\xff" * 8
    bits = struct.pack(">d", number)
    return invert(bits) if bits[0] & 0x80 else bytes([bits[0] | 0x80]) + bits[1:]


def _single_key(value: float | str) -> bytes:
    (number,) = struct.unpack("<f", struct.pack("<f", float(value)))
    return _double_key(number)


def numeric_key(text: str) -> bytes:
    """Exact, whatever the number of digits."""
    found = _number(text)
    if found is None:
        special = _SPECIAL_NUMBERS.get(text.lower())
        if special is None:
            raise ValueError(text)
        return special
    sign, whole, fraction = found[1], found[2].lstrip("0"), found[3] or ""
    if not (found[2] or fraction):
        raise ValueError(text)
    if whole:
        exponent, digits = len(whole), whole + fraction
    else:
        digits = fraction.lstrip("0")
        exponent = len(digits) - len(fraction)
    digits = digits.rstrip("0")
    if not digits:
        return b"\x02"
    size = (exponent + 2**31).to_bytes(4, "big") + digits.encode("ascii") + END
    return b"\x01" + invert(size) if sign else b"\x03" + size


_SPECIAL_NUMBERS: Mapping[str, bytes] = {
    "-infinity": b"\x00",
    "-inf": b"\x00",
    "infinity": b"\x04",
    "inf": b"\x04",
    "nan": b"\x05",
}


def _numeric_text_key(text: str) -> bytes:
    number = Decimal(text)
    if number.is_finite() and abs(number.adjusted()) > MAX_EXPONENT:
        raise ValueError(text)
    return numeric_key(format(number, "f"))


def _uuid_text_key(text: str) -> bytes:
    word = text.lower()
    if not _uuid(word):
        raise ValueError(text)
    return _text_key(word)


def _infinite(text: str) -> bytes | None:
    return {"-infinity": b"\x00" * 8, "infinity": b"\xff" * 8}.get(text)


def _days(year: str, month: str, day: str, before_christ: str | None) -> int:
    """Days since 1970 of the Gregorian calendar, which PostgreSQL extends to all years."""
    y = 1 - int(year) if before_christ else int(year)
    m = int(month)
    y -= m <= 2
    era = y // 400
    year_of_era = y - era * 400
    day_of_year = (153 * (m + (-3 if m > 2 else 9)) + 2) // 5 + int(day) - 1
    return (
        era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
    ) - 719_468


def _date_key(text: str) -> bytes:
    if (infinite := _infinite(text)) is not None:
        return infinite
    if (found := _date(text)) is None:
        raise ValueError(text)
    return fixed(_days(*found.group(1, 2, 3, 4)))


def _clock_us(hour: str | None, minute: str, second: str | None, fraction: str | None) -> int:
    if hour is None:
        return 0
    seconds = int(hour) * 3600 + int(minute) * 60 + int(second or 0)
    return seconds * 1_000_000 + int((fraction or "0").ljust(6, "0"))


def _zone_s(sign: str | None, hours: str, minutes: str | None, seconds: str | None) -> int:
    """Seconds east of UTC."""
    if sign is None:
        return 0
    size = int(hours) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    return -size if sign == "-" else size


def _timestamp_key(text: str) -> bytes:
    """A time without an offset, where one is expected, is one of UTC."""
    if (infinite := _infinite(text)) is not None:
        return infinite
    if (found := _timestamp(text)) is None:
        raise ValueError(text)
    days = _days(*found.group(1, 2, 3, 12)) - EPOCH
    clock, zone = _clock_us(*found.group(4, 5, 6, 7)), _zone_s(*found.group(8, 9, 10, 11))
    return fixed(days * DAY_US + clock - zone * 1_000_000)


def _time_key(text: str) -> bytes:
    if (found := _time(text)) is None:
        raise ValueError(text)
    return fixed(_clock_us(*found.group(1, 2, 3, 4)))


def _timetz_key(text: str) -> bytes:
    """Equal instants are ordered by their zones, from east to west."""
    if (found := _timetz(text)) is None:
        raise ValueError(text)
    zone = _zone_s(*found.group(5, 6, 7, 8))
    return fixed(_clock_us(*found.group(1, 2, 3, 4)) - zone * 1_000_000) + fixed(-zone)


def _interval_key(text: str) -> bytes:
    """A month counts as 30 days, as in PostgreSQL's comparison."""
    if text in ("infinity", "-infinity"):
        return b"\xff" * 12 if text == "infinity" else b"\x00" * 12
    months = days = clock = at = 0
    while at < len(text):
        if (found := _span(text, at)) is None:
            raise ValueError(text)
        count, unit, sign, *parts = found.groups()
        if unit is None:
            size = _clock_us(*parts)
            clock += -size if sign == "-" else size
        elif unit == "day":
            days += int(count)
        else:
            months += int(count) * (12 if unit == "year" else 1)
        at = found.end()
    if not text:
        raise ValueError(text)
    return (clock + (days + months * 30) * DAY_US + 2**94).to_bytes(12, "big")


def _same(make: MakeKey) -> KeyType:
    return KeyType(make, make)


KEY_TYPES: Mapping[int, KeyType] = {
    BOOL: KeyType(_bool_key, _bool_text_key),
    **dict.fromkeys(INTEGERS, _same(_int_key)),
    FLOAT4: _same(_single_key),
    FLOAT8: _same(_double_key),
    NUMERIC: KeyType(numeric_key, _numeric_text_key),
    BPCHAR: _same(_padded_key),
    UUID: KeyType(_text_key, _uuid_text_key),
    DATE: _same(_date_key),
    TIME: _same(_time_key),
    TIMETZ: _same(_timetz_key),
    TIMESTAMP: _same(_timestamp_key),
    TIMESTAMPTZ: _same(_timestamp_key),
    INTERVAL: _same(_interval_key),
}

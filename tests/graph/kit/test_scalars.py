from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from graph.kit.scalars import MAX_SAFE_INT, SafeInt, scalar_map

IN_UTC = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
time = scalar_map[datetime]


def written(moment: datetime) -> Any:
    """The value as serialized in a response."""
    assert time.serialize is not None
    return msgspec.json.decode(msgspec.json.encode(time.serialize(moment)))


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (IN_UTC, "2026-11-21T10:00:00+00:00"),
        (IN_UTC.replace(microsecond=120), "2026-11-21T10:00:00.00012+00:00"),
        (IN_UTC.astimezone(timezone(timedelta(hours=-5))), "2026-11-21T10:00:00+00:00"),
        (IN_UTC.replace(year=33), "0033-11-21T10:00:00+00:00"),
    ],
)
def test_date_time_is_utc_and_round_trips(moment: datetime, text: str) -> None:
    assert written(moment) == text
    assert time.parse_value is not None
    assert time.parse_value(text) == moment


@pytest.mark.parametrize("value", ["2026-11-21T10:00:00", "soon", 1_700_000_000, None])
def test_date_time_refuses_invalid_values(value: object) -> None:
    assert time.parse_value is not None
    with pytest.raises(ValueError, match=r"zone|such as"):
        time.parse_value(value)


@pytest.mark.parametrize("value", [0, -1, 2**31, MAX_SAFE_INT])
def test_safe_int_is_number(value: int) -> None:
    safe = scalar_map[SafeInt]
    assert safe.serialize is not None
    assert safe.parse_value is not None
    assert (safe.serialize(value), safe.parse_value(value)) == (value, value)


@pytest.mark.parametrize("value", [True, "1", 1.0, MAX_SAFE_INT + 1, -MAX_SAFE_INT - 1, None])
def test_safe_int_refuses_values_beyond_2_53(value: object) -> None:
    safe = scalar_map[SafeInt]
    assert safe.parse_value is not None
    with pytest.raises(ValueError, match="integer of magnitude"):
        safe.parse_value(value)

"""Cursors: anyone can make one."""

import base64
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest

from db.errors import BadInput
from db.kit.lists.paging import SortOrder, decode_cursor, encode_cursor

ORDER = SortOrder("key")
ROW = UUID(int=7)
TIME = datetime(2026, 11, 30, 8, 15, tzinfo=UTC)


def forged(*parts: Any) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(parts)).decode().rstrip("=")


@pytest.mark.parametrize(
    ("key", "kind", "found"),
    [("a title", str, "a title"), (7, int, 7), (TIME.isoformat(), datetime, TIME)],
)
def test_cursor_has_the_position_that_it_was_made_of(
    key: str | int, kind: type, found: object
) -> None:
    cursor = encode_cursor(ORDER, key, ROW)
    assert decode_cursor(cursor, ORDER, kind=kind, field="after") == (found, ROW)


@pytest.mark.parametrize(
    ("cursor", "kind"),
    [
        ("", str),
        ("x", str),
        (forged("key", "a\0b", ROW), str),
        (forged("key", 7, ROW), str),
        (forged("key", None, ROW), str),
        (forged("key", "7", ROW), int),
        (forged("key", 2**31, ROW), int),
        (forged("key", True, ROW), int),
        (forged("key", 7, ROW), datetime),
        (forged("key", "2026-11-30", ROW), datetime),
        (forged("key", "0001-01-01T00:00:00+14:00", ROW), datetime),
        (forged("key", "a", "no id"), str),
        (forged("key", "a", ROW, 1), str),
        (forged("other", "a", ROW), str),
        (base64.urlsafe_b64encode(b'["key","\\ud800","' + ROW.hex.encode() + b'"]').decode(), str),
    ],
)
def test_cursor_that_no_server_made_is_refused(cursor: str, kind: type) -> None:
    with pytest.raises(BadInput) as caught:
        decode_cursor(cursor, ORDER, kind=kind, field="after")
    assert caught.value.field == "after"

import time
from datetime import UTC, datetime, timedelta, timezone
from uuid import RFC_4122

import pytest
from sqlalchemy import column, literal, select, text

from db.kit.base import TimestampTextType, new_id, to_timestamp_text
from db.postgres.engine import Database, Session
from db.postgres.statements import compile_change, compile_statement


def test_new_id_is_uuid_version_7_with_time() -> None:
    before = time.time_ns() // 1_000_000
    made = new_id()
    assert made.version == 7
    assert made.variant == RFC_4122
    assert before <= made.int >> 80 <= before + 10_000


def test_new_id_is_greater_than_previous() -> None:
    ids = [new_id() for _ in range(10_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


MOMENTS = [
    datetime(2026, 11, 21, 10, tzinfo=UTC),
    datetime(2026, 3, 29, 1, 59, 59, 999_999, tzinfo=UTC),
    datetime(1, 1, 1, 0, 0, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 120, tzinfo=UTC),
    datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=-11, minutes=-30))),
]


@pytest.mark.parametrize("time", MOMENTS)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/St_Johns"])
async def test_timestamp_text_is_equal_in_postgresql_and_python(
    database: Database, time: datetime, zone: str
) -> None:
    inner = select(literal(time, TimestampTextType()).label("at")).subquery()
    written = compile_statement(select(column("at", TimestampTextType())).select_from(inner))

    async def read(session: Session) -> str:
        await session.rows(compile_change(text(f"SET LOCAL TimeZone = '{zone}'")))
        moment: str = await session.value(written)
        return moment

    moment = await database.transaction(read)
    assert moment == to_timestamp_text(time)
    assert datetime.fromisoformat(moment) == time

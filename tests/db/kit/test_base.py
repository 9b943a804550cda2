import time
from datetime import UTC, datetime, timedelta, timezone
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import ForeignKey, MetaData, column, insert, literal, select

from db.kit.base import (
    Base,
    HasId,
    HasOwner,
    HasTimes,
    Mapped,
    TimestampText,
    TimestampTextType,
    mapped_column,
    new_id,
    to_timestamp_text,
)
from db.postgres.engine import Database
from db.postgres.statements import compile_statement


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


TIMES = st.datetimes(timezones=st.just(UTC))
MOMENTS = [
    datetime(2026, 11, 21, 10, tzinfo=UTC),
    datetime(2026, 11, 21, 10, 0, 0, 500_000, tzinfo=UTC),
    datetime(2026, 3, 29, 1, 59, 59, 999_999, tzinfo=UTC),
    datetime(1, 1, 1, 0, 0, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 120, tzinfo=UTC),
    datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=-11, minutes=-30))),
]


@pytest.mark.parametrize("time", MOMENTS)
async def test_timestamp_text_is_equal_in_postgresql_and_python(
    database: Database, time: datetime
) -> None:
    inner = select(literal(time, TimestampTextType()).label("at")).subquery()
    written = compile_statement(select(column("at", TimestampTextType())).select_from(inner))
    async with database.read() as session:
        moment: str = await session.value(written)
    assert moment == to_timestamp_text(time)
    assert datetime.fromisoformat(moment) == time


@given(times=st.lists(TIMES, min_size=2, max_size=2))
def test_timestamp_texts_are_in_the_order_of_time(times: list[datetime]) -> None:
    first, second = (to_timestamp_text(time) for time in sorted(times))
    assert (first < second) == (times[0] != times[1])


def test_table_has_the_columns_of_its_mixins_and_replaces_theirs() -> None:
    class Toy(HasId, HasOwner, HasTimes, Base):
        __tablename__ = "toys"
        metadata = MetaData()

        owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
        name: Mapped[str | None]
        bought_at: Mapped[TimestampText | None]

    assert list(Toy.__table__.c.keys()) == [
        *("id", "owner_id", "name", "bought_at", "created_at", "updated_at")
    ]
    nullable = {name for name, column in Toy.__table__.c.items() if column.nullable}
    assert nullable == {"name", "bought_at"}
    assert Toy.__table__.c.owner_id.foreign_keys
    assert str(insert(Toy).values(name="Bear")) == str(insert(Toy.__table__).values(name="Bear"))


def test_table_refuses_an_annotation_that_is_no_column() -> None:
    with pytest.raises(TypeError, match=r"Toy\.name is no `Mapped`"):

        class Toy(Base):
            __tablename__ = "toys"
            metadata = MetaData()

            name: str

"""The ground all tables stand on: naming of constraints, ids, times, owners, versions."""

import os
import time
from datetime import UTC, datetime
from typing import Any, NewType
from uuid import UUID

from asyncpg.pgproto import pgproto
from sqlalchemy import DateTime, MetaData, TypeDecorator, Uuid, func, literal_column
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

OwnerId = NewType("OwnerId", UUID)
"""Whose rows. Minted from a verified token, in `graph.auth` only (a test holds that)."""

Moment = NewType("Moment", str)
"""A point in time that is only passed on: RFC 3339 in UTC, always with microseconds."""


def moment_of(time: datetime) -> Moment:
    text = time.astimezone(UTC).isoformat(timespec="microseconds")
    return Moment(text.removesuffix("+00:00") + "Z")


class MomentText(TypeDecorator[Any]):
    """A timestamp that PostgreSQL writes as a Moment when it is read.

    Reading one as a datetime costs the process more than all other columns of a task together.
    """

    impl = DateTime(timezone=True)
    cache_ok = True
    python_type = datetime

    def column_expression(self, column: Any) -> Any:
        form: Any = literal_column("""'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'""")
        return func.to_char(func.timezone(literal_column("'UTC'"), column), form)


def parse_uuid(written: Any) -> UUID:
    """An id from 32 hexadecimal digits or 16 bytes; the driver's own kind, in C, costs a tenth."""
    found: UUID = pgproto.UUID(written)
    return found


_latest = 0


def new_id() -> UUID:
    """A UUIDv7: opaque to clients, ordered by time in our indexes (RFC 9562, method 3).

    Of one process each is greater than the one before, also within a millisecond.
    """
    global _latest  # noqa: PLW0603 - the order is the process's
    random = int.from_bytes(os.urandom(13), "big")
    moment = time.time_ns() // 1_000_000 << 74 | random >> 32
    _latest = max(moment, _latest + 1 + (random & 0xFFFF_FFFF))
    milliseconds, high, low = _latest >> 74, _latest >> 62 & 0xFFF, _latest & (1 << 62) - 1
    number = milliseconds << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low
    return parse_uuid(number.to_bytes(16, "big"))


class Base(DeclarativeBase):
    """Declares tables. Rows come back as plain tuples, never as instances of these classes."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: dict[Any, Any] = {  # noqa: RUF012 - SQLAlchemy reads it as written
        datetime: DateTime(timezone=True),
        Moment: MomentText(),
        UUID: Uuid(),
    }


class HasId:
    """A primary key made by us, so that a retried insert is the same insert."""

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id, sort_order=-2)


class HasOwner:
    """`owner_id` stands on every owned row, children included; each table adds its own key."""

    owner_id: Mapped[UUID] = mapped_column(sort_order=-1)


class HasTimes:
    """When it was made and last changed, by PostgreSQL's clock."""

    created_at: Mapped[Moment] = mapped_column(server_default=func.now(), sort_order=90)
    updated_at: Mapped[Moment] = mapped_column(server_default=func.now(), sort_order=91)


class HasVersion:
    """Grows by one with every change, so that a lost update can be noticed."""

    version: Mapped[int] = mapped_column(server_default="1", sort_order=92)

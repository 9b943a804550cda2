"""The declarative base: constraint names, IDs, timestamps, owners and versions."""

import os
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from inspect import get_annotations
from types import NoneType
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    NamedTuple,
    NewType,
    TypeVar,
    get_args,
    get_origin,
)
from uuid import UUID

from asyncpg.pgproto import pgproto
from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    Uuid,
    func,
    literal_column,
)
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

T = TypeVar("T")

OwnerId = NewType("OwnerId", UUID)
"""The owner of rows. Created from a verified token, only in `graph.auth` (a test checks this)."""

TimestampText = NewType("TimestampText", str)
"""A timestamp in RFC 3339, UTC, with as many digits as it needs. Texts are in the order of time."""

UTC_SUFFIX = "+00:00"


def to_timestamp_text(time: datetime) -> TimestampText:
    """As PostgreSQL writes it."""
    text = time.astimezone(UTC).isoformat().removesuffix(UTC_SUFFIX)
    return TimestampText((text.rstrip("0") if time.microsecond else text) + UTC_SUFFIX)


class TimestampTextType(TypeDecorator[Any]):
    """A timestamp column that PostgreSQL formats as TimestampText when it is read.

    Decoding a datetime costs more than all other columns of a task together, and `to_char` twice
    as much as `to_json`. The time zone of the connection is UTC (`db.postgres.route.connect`).
    """

    impl = DateTime(timezone=True)
    cache_ok = True
    python_type = datetime

    def column_expression(self, column: Any) -> Any:
        return func.to_json(column)


def parse_uuid(written: Any) -> UUID:
    """Parses 32 hexadecimal digits or 16 bytes. asyncpg's UUID type takes a tenth of the time."""
    found: UUID = pgproto.UUID(written)
    return found


_latest = 0


def new_id() -> UUID:
    """A UUIDv7: opaque to clients, ordered by time in our indexes (RFC 9562, method 3).

    IDs of one process increase strictly, also within a millisecond.
    """
    global _latest  # noqa: PLW0603 - the order is the process's
    random = int.from_bytes(os.urandom(13), "big")
    moment = time.time_ns() // 1_000_000 << 74 | random >> 32
    _latest = max(moment, _latest + 1 + (random & 0xFFFF_FFFF))
    milliseconds, high, low = _latest >> 74, _latest >> 62 & 0xFFF, _latest & (1 << 62) - 1
    number = milliseconds << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low
    return parse_uuid(number.to_bytes(16, "big"))


class _Declaration(NamedTuple):
    """What `mapped_column` was called with: a mixin's column is a new one in each table."""

    arguments: tuple[Any, ...] = ()
    options: Mapping[str, Any] = {}
    sort_order: int = 0


class Mapped(Generic[T]):
    """The annotation of a column, as in SQLAlchemy's ORM: its type, with None if it is nullable."""

    if TYPE_CHECKING:

        def __get__(self, instance: object, owner: type) -> Column[T]: ...


def mapped_column(*arguments: Any, sort_order: int = 0, **options: Any) -> Any:
    """Takes the arguments of `Column`. Columns with a lower `sort_order` come first."""
    return _Declaration(arguments, options, sort_order)


class Base:
    """Declares a table as SQLAlchemy's ORM does, without loading it (decision 0036).

    The attributes of a subclass are the columns of its table; the class stands for the table in
    `select`, `insert`, `update` and `delete`. Repositories return named tuples, never instances.
    """

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    __tablename__: ClassVar[str]
    __table_args__: ClassVar[tuple[SchemaItem, ...]] = ()
    __table_info__: ClassVar[Mapping[str, Any]] = {}
    __table__: ClassVar[Table]

    def __init_subclass__(cls) -> None:
        declared = sorted(_declared(cls).items(), key=lambda item: item[1][1].sort_order)
        columns = [_column(name, *how) for name, how in declared]
        items, info = (*columns, *cls.__table_args__), dict(cls.__table_info__)
        cls.__table__ = Table(cls.__tablename__, cls.metadata, *items, info=info)
        for column in columns:
            setattr(cls, column.name, column)

    @classmethod
    def __clause_element__(cls) -> Table:
        return cls.__table__


_TYPES: dict[Any, Any] = {
    bool: Boolean,
    bytes: LargeBinary,
    datetime: DateTime(timezone=True),
    int: Integer,
    str: Text,
    TimestampText: TimestampTextType(),
    UUID: Uuid(),
}
"""The type of a column whose declaration names none."""


def _declared(table: type[Base]) -> dict[str, tuple[Any, _Declaration]]:
    """The annotation and declaration of each column; those of a class replace its mixins'."""
    found: dict[str, tuple[Any, _Declaration]] = {}
    for declaring in reversed(table.__mro__):
        for name, annotation in get_annotations(declaring).items():
            origin: object = get_origin(annotation)
            if origin is Mapped:
                declaration = vars(declaring).get(name, _Declaration())
                found[name] = get_args(annotation)[0], declaration
            elif origin is not ClassVar:
                raise TypeError(f"{table.__name__}.{name} is no `Mapped` of db.kit.base")
    return found


def _column(name: str, annotation: Any, declaration: _Declaration) -> Column[Any]:
    nullable = NoneType in get_args(annotation)
    arguments = declaration.arguments
    if not any(isinstance(item, (TypeEngine, type)) for item in arguments):
        kind = get_args(annotation)[0] if nullable else annotation
        arguments = (_TYPES[kind], *arguments)
    return Column(name, *arguments, **{"nullable": nullable, **declaration.options})


class HasId:
    """A primary key generated by the application, so that a retried insert is the same insert."""

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id, sort_order=-2)


class HasOwner:
    """Every owned row has `owner_id`, children included; each table declares its foreign key."""

    owner_id: Mapped[UUID] = mapped_column(sort_order=-1)


class HasTimes:
    """Creation and last change, by PostgreSQL's clock."""

    created_at: Mapped[TimestampText] = mapped_column(server_default=func.now(), sort_order=90)
    updated_at: Mapped[TimestampText] = mapped_column(server_default=func.now(), sort_order=91)


class HasVersion:
    """Increases by one with every change, so that lost updates are detected."""

    version: Mapped[int] = mapped_column(server_default="1", sort_order=92)


def sql_list(values: Iterable[str]) -> str:
    """`('A', 'B')`, for a CHECK constraint or the predicate of an index."""
    return "(" + ", ".join(f"'{value}'" for value in values) + ")"


def text_literal(value: str) -> Any:
    """A literal instead of a parameter: PostgreSQL matches partial indexes by literals."""
    return literal_column(f"'{value}'", Text())


def text_literals(values: Iterable[str]) -> list[Any]:
    return [text_literal(value) for value in values]

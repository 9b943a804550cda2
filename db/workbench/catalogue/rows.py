"""Rows of the system catalogue of a user's database."""

from enum import StrEnum
from typing import NamedTuple
from uuid import UUID


class TableKind(StrEnum):
    """The values are those of `pg_class.relkind`."""

    TABLE = "r"
    PARTITIONED_TABLE = "p"
    VIEW = "v"
    MATERIALIZED_VIEW = "m"
    FOREIGN_TABLE = "f"


class SchemaRow(NamedTuple):
    """`id` is the OID of the schema."""

    id: UUID
    connection_id: UUID
    name: str
    comment: str | None


class TableRow(NamedTuple):
    """`id` is the OID of the relation; `kind` is a value of `TableKind`."""

    id: UUID
    connection_id: UUID
    schema_name: str
    name: str
    kind: str
    comment: str | None
    row_estimate: int | None


class ColumnRow(NamedTuple):
    name: str
    position: int
    type: str
    nullable: bool
    default: str | None
    is_primary_key: bool
    references: str | None
    comment: str | None

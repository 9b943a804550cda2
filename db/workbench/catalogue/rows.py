"""Rows of the system catalogue of a user's database."""

from typing import NamedTuple
from uuid import UUID


class SchemaRow(NamedTuple):
    """`id` is the OID of the schema."""

    id: UUID
    connection_id: UUID
    name: str
    comment: str | None


class TableRow(NamedTuple):
    """`id` is the OID of the relation; `kind` is a value of the API enum `TableKind`."""

    id: UUID
    connection_id: UUID
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

"""Reads the definitions of many objects of one kind with one statement."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cache

import msgspec

from db.errors import TooLarge
from db.workbench.catalogue.definitions import (
    constraints,
    indexes,
    relations,
    routines,
    sequences,
    small_objects,
    tables,
    types,
)
from db.workbench.catalogue.fetching import Fetch
from db.workbench.catalogue.objects import Oid

MAX_DEFINITION_BYTES = 8 * 1024 * 1024
_SELECTED = list[tuple[Oid, str | None, int]]


class DefinedKind(StrEnum):
    """Kinds of objects. The ID of a column is that of `ColumnRow`; the others have an OID."""

    COLLATION = "COLLATION"
    COLUMN = "COLUMN"
    """Columns of tables, and attributes of composite types."""
    CONSTRAINT = "CONSTRAINT"
    EVENT_TRIGGER = "EVENT_TRIGGER"
    EXTENSION = "EXTENSION"
    INDEX = "INDEX"
    POLICY = "POLICY"
    RELATION = "RELATION"
    """Tables, partitioned and foreign tables, views and materialized views."""
    ROUTINE = "ROUTINE"
    """Functions, procedures, aggregates and window functions."""
    RULE = "RULE"
    SCHEMA = "SCHEMA"
    SEQUENCE = "SEQUENCE"
    STATISTICS = "STATISTICS"
    TRIGGER = "TRIGGER"
    TYPE = "TYPE"
    """Enums, domains, ranges, composite, base and shell types."""


# Each part selects (id, rank, text) for the IDs $1: its statements follow those of the part before
# it, in the order of their rank.
_PARTS: Mapping[DefinedKind, Sequence[str]] = {
    DefinedKind.COLLATION: small_objects.COLLATION,
    DefinedKind.COLUMN: (
        sequences.OF_COLUMN,
        tables.COLUMN,
        types.ATTRIBUTE,
        *sequences.CHANGES_OF_COLUMN,
        *relations.CHANGES_OF_COLUMN,
    ),
    DefinedKind.CONSTRAINT: (*constraints.CONSTRAINT, *indexes.OF_CONSTRAINT, constraints.COMMENT),
    DefinedKind.EVENT_TRIGGER: small_objects.EVENT_TRIGGER,
    DefinedKind.EXTENSION: small_objects.EXTENSION,
    DefinedKind.INDEX: (*indexes.INDEX, indexes.ATTACH),
    DefinedKind.POLICY: small_objects.POLICY,
    DefinedKind.RELATION: (
        sequences.OF_TABLE,
        tables.TABLE,
        relations.VIEW,
        constraints.ADDED,
        *indexes.OF_TABLE,
        tables.ATTACH,
        *relations.CHANGES,
        *sequences.CHANGES_OF_TABLE,
        constraints.FOREIGN_KEYS,
        *relations.COMMENTS,
        constraints.COMMENTS_OF_TABLE,
        small_objects.STATES_OF_PARTITION,
    ),
    DefinedKind.ROUTINE: routines.ROUTINE,
    DefinedKind.RULE: small_objects.RULE,
    DefinedKind.SCHEMA: small_objects.SCHEMA,
    DefinedKind.SEQUENCE: sequences.SEQUENCE,
    DefinedKind.STATISTICS: small_objects.STATISTICS,
    DefinedKind.TRIGGER: small_objects.TRIGGER,
    DefinedKind.TYPE: types.TYPE,
}

# pg_get_expr() and its like omit the schema of what the search path finds, and print constants in
# the formats of the session. With this path, no object of a user hides one of PostgreSQL. Compiling
# the statement takes 2 s, executing it for 1,000 tables 0.4 s.
_SETTINGS = """
SELECT pg_catalog.set_config(name, value, true) FROM (VALUES
  ('search_path'::pg_catalog.text, 'pg_catalog, pg_temp'::pg_catalog.text),
  ('datestyle', 'ISO, MDY'), ('intervalstyle', 'postgres'), ('extra_float_digits', '3'),
  ('bytea_output', 'hex'), ('quote_all_identifiers', 'off'), ('jit', 'off')
) AS setting (name, value)
"""


async def definitions(fetch: Fetch, kind: DefinedKind, ids: Sequence[int]) -> Mapping[int, str]:
    """Returns SQL that recreates each object, if the objects that it depends on exist.

    `fetch` runs its statements in one transaction, whose settings are changed.

    Owners, privileges, security labels and rows are omitted. An object that does not exist, or is
    made only with another one, such as an array type, has no entry.

    Raises:
        TooLarge: They have more than `MAX_DEFINITION_BYTES` together.
    """
    await fetch(_SETTINGS, [])
    texts: dict[int, list[str]] = {}
    found = await fetch(_statement(kind), [list(ids), MAX_DEFINITION_BYTES])
    for found_id, text, total in msgspec.convert(found, _SELECTED):
        if total > MAX_DEFINITION_BYTES:
            raise TooLarge(
                f"The definitions have more than {MAX_DEFINITION_BYTES:,} bytes together.",
                hint="Request the definitions of fewer objects at once.",
            )
        texts.setdefault(found_id, []).append(f"{text};\n")
    return {found_id: "".join(parts) for found_id, parts in texts.items()}


@cache
def _statement(kind: DefinedKind) -> str:
    # pg_get_functiondef() and its like return null for what was dropped after the snapshot.
    parts = " UNION ALL ".join(
        f"""SELECT id, {step} AS step, rank::text AS rank, text
        FROM ({part}) AS part (id, rank, text)"""  # noqa: S608 - constants
        for step, part in enumerate(_PARTS[kind])
    )
    return f"""SELECT id, CASE WHEN total <= $2::bigint THEN text END, total FROM (
      SELECT *, sum(octet_length(text)) OVER () AS total, row_number() OVER () AS number
      FROM ({parts}) AS parts WHERE text IS NOT NULL) AS counted
    WHERE total <= $2::bigint OR number = 1
    ORDER BY id, step, rank COLLATE "C\""""  # noqa: S608 - constants

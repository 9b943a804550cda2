"""Encodes the parameters of a run as PostgreSQL's text; the server infers their types.

A JSON array is an SQL array or a JSON value, depending on that type. So if a parameter is one, the
statement is parsed before, which takes a round trip.
"""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

from db.row_scans.type_oids import INT2VECTOR, JSON, JSONB, OIDVECTOR
from db.workbench.connections.libpq import Connection
from db.workbench.execution.reading import protocol
from db.workbench.results.value_conversion import encode_json, encode_parameter
from db.workbench.sql.pinned import pinned

JSON_TYPES = (JSON, JSONB)
VECTORS = (INT2VECTOR, OIDVECTOR)
"""`int2vector` and `oidvector` are arrays whose text has no braces."""

_JSON = "'{{{{{},{}}}}}'::oid[]".format(*JSON_TYPES)
# A domain has the array type on which it is based.
_ARRAYS = pinned(f"""
WITH RECURSIVE based AS (
  SELECT oid AS asked, oid AS base FROM pg_catalog.pg_type WHERE oid = ANY ('{{{{{{}}}}}}'::oid[])
  UNION ALL
  SELECT b.asked, t.typbasetype FROM based AS b JOIN pg_catalog.pg_type AS t ON t.oid = b.base
  WHERE t.typtype = 'd'
)
SELECT b.asked::int8, a.typdelim::text, e.oid = ANY ({_JSON}) OR e.typbasetype = ANY ({_JSON})
FROM based AS b JOIN pg_catalog.pg_type AS a ON a.oid = b.base
JOIN pg_catalog.pg_type AS e ON e.oid = a.typelem
WHERE a.typcategory = 'A' AND a.typlen = '-1'::int2
""")  # noqa: S608 - constants


class ArrayType(NamedTuple):
    delimiter: str
    has_json: bool
    """Whether the elements are JSON, so that an inner JSON array is one element."""


def are_ambiguous(values: Sequence[Any]) -> bool:
    """Whether the text of a value depends on the type of its parameter."""
    return any(isinstance(value, list) for value in values)


async def find_array_types(connection: Connection, oids: Sequence[int]) -> list[ArrayType | None]:
    """None for each type that is no array."""
    known = connection.adapters.types
    found: dict[int, ArrayType] = {}
    unknown = set[int]()
    for oid in oids:
        kind = known.get(oid)
        if kind is None:
            unknown.add(oid)
        elif kind.array_oid == oid and kind.oid not in VECTORS:
            found[oid] = ArrayType(kind.delimiter, kind.oid in JSON_TYPES)
    if unknown:
        query = _ARRAYS.format(",".join(map(str, sorted(unknown))))
        rows = await protocol.query_catalogue(
            connection, query, tuple[str, str, bool], max_rows=len(unknown)
        )
        named = {oid: ArrayType(delimiter, has_json) for oid, delimiter, has_json in rows}
        found |= {oid: named[str(oid)] for oid in unknown if str(oid) in named}
    return [found.get(oid) for oid in oids]


def encode_parameters(
    values: Sequence[Any], types: Sequence[ArrayType | None] = ()
) -> list[bytes | None]:
    return [
        _encode_array(value, kind).encode()
        if kind is not None and isinstance(value, list)
        else encode_parameter(value)
        for value, kind in zip_longest(values, types[: len(values)])
    ]


def _encode_array(values: list[Any], kind: ArrayType) -> str:
    return "{" + kind.delimiter.join([_encode_element(value, kind) for value in values]) + "}"


def _encode_element(value: Any, kind: ArrayType) -> str:
    if isinstance(value, list) and not kind.has_json:
        return _encode_array(value, kind)
    text = encode_json(value) if kind.has_json and value is not None else encode_parameter(value)
    if text is None:
        return "NULL"
    escaped = text.decode().replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'

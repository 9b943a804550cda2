"""What the catalogue says of the table to change: its columns, its keys, or names like it."""

from collections.abc import Sequence
from typing import Any

import msgspec

from db.runs import Failure
from db.workbench.changes.failures import refused, suggest
from db.workbench.connections.bounds.read_budget import UnexpectedRows
from db.workbench.sql.pinned import pinned
from db.workbench.sql.quoting import quote_literal

CHANGEABLE = {"r": "table", "p": "partitioned table", "v": "view", "f": "foreign table"}
"""Kinds of relations (pg_class.relkind) whose rows PostgreSQL can change."""
WITHOUT_KEYS = "vf"
"""PostgreSQL knows no keys of views and foreign tables: `key` names any columns of them."""
SEARCHED_NAMES = 5_000
"""Names of tables that are searched for one like an unknown name."""
_OTHER_KINDS = {"m": "materialized view", "S": "sequence", "i": "index", "c": "composite type"}

# A domain has the operators and the text of the type on which it is based.
_QUERY = pinned("""
SELECT pg_catalog.json_build_object('kind', c.relkind, 'columns', (
  SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
      'name', a.attname, 'type', pg_catalog.format_type(a.atttypid, -1),
      'base', base.oid::int8, 'generated', a.attgenerated, 'identity', a.attidentity,
      'readable', pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'SELECT'))
      ORDER BY a.attnum)
  FROM pg_catalog.pg_attribute AS a CROSS JOIN LATERAL (
    WITH RECURSIVE based AS (
      SELECT a.atttypid AS oid
      UNION ALL SELECT t.typbasetype FROM based AS b
      JOIN pg_catalog.pg_type AS t ON t.oid = b.oid WHERE t.typtype = 'd')
    SELECT b.oid FROM based AS b JOIN pg_catalog.pg_type AS t ON t.oid = b.oid
    WHERE t.typtype <> 'd') AS base
  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
), 'keys', (
  SELECT pg_catalog.json_agg(k.parts ORDER BY k.is_primary DESC, k.size)
  FROM (
    SELECT i.indisprimary AS is_primary, i.indnkeyatts AS size,
           pg_catalog.bool_and(a.attnotnull OR t.typtype = 'd' AND t.typnotnull) AS is_complete,
           pg_catalog.json_object_agg(a.attname,
             CASE WHEN n.nspname <> 'pg_catalog'
               THEN pg_catalog.format('OPERATOR(%I.%s)', n.nspname, o.oprname) ELSE '=' END
             ORDER BY at.number) AS parts
    FROM pg_catalog.pg_index AS i
    CROSS JOIN LATERAL pg_catalog.generate_series(0, i.indnkeyatts - 1) AS at (number)
    JOIN pg_catalog.pg_attribute AS a
      ON a.attrelid = i.indrelid AND a.attnum = i.indkey[at.number]
    JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
    JOIN pg_catalog.pg_opclass AS oc ON oc.oid = i.indclass[at.number]
    LEFT JOIN pg_catalog.pg_amop AS op ON op.amopfamily = oc.opcfamily AND op.amopstrategy = 3
      AND op.amoplefttype = oc.opcintype AND op.amoprighttype = oc.opcintype
      AND op.amopmethod = (SELECT oid FROM pg_catalog.pg_am WHERE amname = 'btree')
    LEFT JOIN pg_catalog.pg_operator AS o ON o.oid = op.amopopr
    LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = o.oprnamespace
    WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid
      AND i.indpred IS NULL AND i.indexprs IS NULL
    GROUP BY i.indexrelid, i.indisprimary, i.indnkeyatts) AS k
  WHERE k.is_complete
))::text
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = {schema} AND c.relname = {table}""")

_NAMES = """
SELECT n.nspname::text, c.relname::text
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
ORDER BY n.nspname <> {schema} LIMIT {most}"""


class TableColumn(msgspec.Struct, frozen=True):
    name: str
    type: str
    """Without a length, so that a cast to it changes no value."""
    base: int
    """OID of the type; for a domain, of the type on which it is based."""
    generated: str
    identity: str
    readable: bool

    @property
    def why_computed(self) -> str:
        """Why no value can be written to it. Empty if one can."""
        if self.generated:
            return "generated"
        return "an identity column, GENERATED ALWAYS" if self.identity == "a" else ""


class Table(msgspec.Struct, frozen=True):
    """A relation and its keys: for each column of a key, the operator that compares it."""

    kind: str
    columns: list[TableColumn] | None
    keys: list[dict[str, str]] | None

    @property
    def by_name(self) -> dict[str, TableColumn]:
        return {column.name: column for column in self.columns or ()}

    @property
    def readable(self) -> list[TableColumn]:
        """The columns that the role may read."""
        return [column for column in self.columns or () if column.readable]

    @property
    def refusal(self) -> Failure | None:
        """Why PostgreSQL can change no row of it."""
        if self.kind in CHANGEABLE:
            return None
        kind = _OTHER_KINDS.get(self.kind, "relation")
        return refused(
            f"Rows of a {kind} cannot be changed.", "Pass a table, a view or a foreign table."
        )


def table_query(schema: str, table: str) -> str:
    """Selects one JSON text, or no row if there is no such relation."""
    return _QUERY.format(schema=quote_literal(schema), table=quote_literal(table))


def names_query(schema: str) -> str:
    """Selects the schema and the name of tables to suggest."""
    return _NAMES.format(schema=quote_literal(schema), most=SEARCHED_NAMES)


def parse_table(text: str) -> Table:
    try:
        return msgspec.json.decode(text, type=Table)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise UnexpectedRows from error


def unknown_table(schema: str, table: str, names: Sequence[Sequence[Any]]) -> Failure:
    """`names` are the rows of `names_query`."""
    schemas = {str(each[0]) for each in names}
    here = [str(name) for namespace, name in names if namespace == schema]
    elsewhere = [f"{namespace}.{name}" for namespace, name in names if name == table]
    hint = "Pass the names as they are in the catalogue, without quotes."
    if elsewhere:
        hint += f" There is {' and '.join(elsewhere[:3])}."
    else:
        hint += suggest(table, here) if schema in schemas else suggest(schema, schemas)
    return refused(f'There is no table "{table}" in the schema "{schema}".', hint)

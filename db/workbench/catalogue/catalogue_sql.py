"""SQL on the system catalogue of a user's database: schemas, tables, columns.

A list is selected as (parent, name, id, ...), so that one statement reads the same page of many
parents. Names sort by bytes (`COLLATE "C"`), because cursors must not depend on a collation that
the server may change.
"""

from db.kit.base import sql_list
from db.workbench.catalogue.rows import TableKind

_KEYSET_PAGE = """
SELECT * FROM (
  SELECT item.*, row_number() OVER (
    PARTITION BY parent ORDER BY name {direction}, id {direction}) AS number
  FROM ({items}) AS item
  WHERE ($2::text IS NULL OR (name, id) > ($2::text COLLATE "C", $3::bigint))
    AND ($4::text IS NULL OR (name, id) < ($4::text COLLATE "C", $5::bigint))
) AS page WHERE number <= $6::bigint ORDER BY parent, number
"""
_EVERY_SCHEMA = """
SELECT 0::bigint AS parent, nspname::text COLLATE "C" AS name, oid::bigint AS id,
       obj_description(oid, 'pg_namespace') AS comment
FROM pg_namespace
WHERE nspname !~ '^pg_(toast|temp_)'
"""
SCHEMAS_AND_SYSTEM = f"{_EVERY_SCHEMA} AND $1::bigint[] IS NOT NULL"
SCHEMAS = f"{SCHEMAS_AND_SYSTEM} AND nspname !~ '^pg_' AND nspname <> 'information_schema'"
"""Without the schemas of PostgreSQL itself, to which the prefix `pg_` is reserved."""
NAMED_SCHEMAS = f"{_EVERY_SCHEMA} AND nspname = ANY($1::text[])"

_EVERY_TABLE = f"""
SELECT relnamespace::bigint AS parent, relname::text COLLATE "C" AS name, c.oid::bigint AS id,
       nspname::text AS schema, relkind::text AS kind,
       description AS comment,
       CASE WHEN relkind = 'v' OR reltuples < 0 THEN NULL ELSE reltuples::bigint END AS rows
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace
LEFT JOIN pg_description ON objoid = c.oid AND classoid = 'pg_class'::regclass AND objsubid = 0
WHERE relkind IN {sql_list(TableKind)}
"""  # noqa: S608 - constants
# The comments are joined: obj_description() is called for each row, and takes 90 % of the time.
TABLES = f"{_EVERY_TABLE} AND relnamespace = ANY($1::bigint[]::oid[])"
NAMED_TABLES = f"""{_EVERY_TABLE}
AND (nspname, relname) IN (SELECT * FROM unnest($1::text[], $2::text[]))
"""  # noqa: S608 - constants
COLUMNS = """
SELECT a.attrelid::bigint, a.attname::text, a.attnum::int,
       format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
       pg_get_expr(d.adbin, d.adrelid), coalesce(k.is_key, false), k.target,
       col_description(a.attrelid, a.attnum)
FROM pg_attribute AS a
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN LATERAL (
  SELECT bool_or(contype = 'p') AS is_key,
         min(confrelid::regclass::text) FILTER (WHERE contype = 'f') AS target
  FROM pg_constraint WHERE conrelid = a.attrelid AND a.attnum = ANY(conkey)
) AS k ON true
WHERE a.attrelid = ANY($1::bigint[]::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum LIMIT $2::bigint
"""


def keyset_page(items: str, *, backward: bool) -> str:
    """Selects one page of `items` for each parent.

    Parameters: the parents, the name and ID of the `after` cursor, those of the `before` cursor,
    and the number of rows for each parent.
    """
    return _KEYSET_PAGE.format(items=items, direction="DESC" if backward else "ASC")


def count_items(items: str) -> str:
    """Selects (parent, count); a parent without items has no row."""
    return f"SELECT parent, count(*) FROM ({items}) AS item GROUP BY parent"  # noqa: S608 - only constants of this module

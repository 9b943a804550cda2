"""Parts of SQL that several kinds of definitions use.

Names are printed by casts such as `oid::regclass` and by `format('%I')`, which quote them.
"""

_PLAIN_VALUE = "'^([0-9]+([.][0-9]+)?|on|off|true|false)$'"

PERSISTENCE = "CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED ' WHEN 't' THEN 'TEMPORARY ' END"

RELATION_WORD = """CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
  WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END"""

COLUMN_ID = "(a.attrelid::bigint << 16) + a.attnum"
"""An expression: the ID of the column `a`, as `ColumnRow` has it."""

ASKED_TABLES = "ANY(ARRAY(SELECT (id >> 16)::oid FROM unnest($1::bigint[]) AS asked (id)))"
"""The right side of a comparison with the OIDs of the tables of the columns $1."""

# A column of a view, of a parent or of a typed table exists only with that.
ADDED_COLUMNS = f"""a.attrelid = {ASKED_TABLES}
  AND {COLUMN_ID} = ANY($1::bigint[])
  AND a.attnum > 0 AND NOT a.attisdropped AND a.attinhcount = 0
  AND a.attrelid IN (
    SELECT oid FROM pg_class WHERE relkind IN ('r', 'p', 'f', 'c') AND reloftype = 0)"""  # noqa: S608 - constants
"""A condition: the column `a` is one of the IDs $1 and can be added by itself."""


def storage_options(array: str, prefix: str = "") -> str:
    """An expression: the storage parameters of an array such as `reloptions`, or null."""
    return f"""(SELECT string_agg(concat('{prefix}', quote_ident(option_name), '=',
      CASE WHEN option_value ~ {_PLAIN_VALUE} THEN option_value
           ELSE quote_literal(option_value) END), ', ')
      FROM pg_options_to_table({array}))"""  # noqa: S608 - constants


def foreign_options(array: str) -> str:
    """An expression: ` OPTIONS (...)` of a foreign table or column, or null."""
    return f"""(SELECT ' OPTIONS (' || string_agg(format('%I %L', option_name, option_value), ', ')
      || ')' FROM pg_options_to_table({array}))"""  # noqa: S608 - constants


def tablespace(relation: str) -> str:
    """An expression: the name of the tablespace of an index or table, or null for the default."""
    return f"""(SELECT quote_ident(spcname) FROM pg_tablespace AS ts
      WHERE ts.oid = {relation}.reltablespace)"""  # noqa: S608 - constants


def comment(catalog: str, described: str, source: str) -> str:
    """A part: the comment on each row of `source`.

    Args:
        catalog: the system catalogue of the objects, such as `pg_namespace`
        described: an expression such as `'SCHEMA ' || object::regnamespace`
        source: selects `id`, `object` (the OID) and the columns that `described` uses
    """
    return f"""SELECT id, object AS rank,
      concat('COMMENT ON ', {described}, ' IS ', quote_literal(description)) AS text
    FROM ({source}) AS item JOIN pg_description
      ON objoid = object AND classoid = '{catalog}'::regclass AND objsubid = 0"""  # noqa: S608 - constants

"""Definitions of views, and what follows the creation of tables and views: changes and comments."""

from collections.abc import Sequence

from db.workbench.catalogue.definitions.fragments import (
    ADDED_COLUMNS,
    COLUMN_ID,
    PERSISTENCE,
    RELATION_WORD,
    comment,
    storage_options,
    tablespace,
)

_RELATIONS = "c.oid = ANY($1::bigint[]::oid[]) AND c.relkind IN ('r', 'p', 'f', 'v', 'm')"

# A materialized view with rows is created with rows.
VIEW = f"""SELECT c.oid::bigint AS id, '' AS rank, concat('CREATE ', {PERSISTENCE},
    {RELATION_WORD}, ' ', c.oid::regclass,
    (SELECT E'\\nUSING ' || quote_ident(am.amname) FROM pg_am AS am
     WHERE am.oid = c.relam AND am.amname <> 'heap'),
    E'\\nWITH (' || nullif(concat_ws(', ', {storage_options("c.reloptions")},
      (SELECT {storage_options("x.reloptions", "toast.")} FROM pg_class AS x
       WHERE x.oid = c.reltoastrelid)), '') || ')',
    E'\\nTABLESPACE ' || {tablespace("c")},
    E' AS\\n', rtrim(pg_get_viewdef(c.oid), ';'),
    CASE WHEN c.relkind = 'm' AND NOT c.relispopulated THEN E'\\nWITH NO DATA' END) AS text
  FROM pg_class AS c
  WHERE c.oid = ANY($1::bigint[]::oid[]) AND c.relkind IN ('v', 'm')"""  # noqa: S608 - constants

_PARENTS = """SELECT FROM pg_inherits AS h JOIN pg_attribute AS p
  ON p.attrelid = h.inhparent AND p.attname = a.attname AND NOT p.attisdropped"""

_STATE = f"""SELECT c.oid::bigint AS id, '' AS rank,
    concat('ALTER TABLE ONLY ', c.oid::regclass, {{}}) AS text
  FROM pg_class AS c WHERE {_RELATIONS} AND {{}}"""  # noqa: S608 - constants

# What is changed, how the condition is known, and the condition.
_OF_CHILD_COLUMN = (
    # A child without a column of its own can have its own default and NOT NULL, which has a
    # constraint since PostgreSQL 18. Views have defaults for INSERT.
    (
        "coalesce(' SET DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), ' DROP DEFAULT')",
        "LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum",
        f"""a.attgenerated = '' AND (c.relkind = 'v' AND d.oid IS NOT NULL
          OR NOT a.attislocal AND NOT c.relispartition AND EXISTS ({_PARENTS}
            LEFT JOIN pg_attrdef AS pd ON pd.adrelid = p.attrelid AND pd.adnum = p.attnum
            WHERE h.inhrelid = c.oid AND pg_get_expr(pd.adbin, pd.adrelid)
              IS DISTINCT FROM pg_get_expr(d.adbin, d.adrelid)))""",
    ),
    (
        "' SET NOT NULL'",
        "",
        f"""a.attnotnull AND NOT a.attislocal AND NOT c.relispartition
          AND current_setting('server_version_num')::int < 180000
          AND NOT EXISTS ({_PARENTS} WHERE h.inhrelid = c.oid AND p.attnotnull)""",
    ),
)
_OF_ANY_COLUMN = (
    (
        """' SET STORAGE ', CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL'
          WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END""",
        "JOIN pg_type AS t ON t.oid = a.atttypid",
        "a.attstorage <> t.typstorage AND c.relkind <> 'v'",
    ),
    (
        "' SET COMPRESSION ', CASE a.attcompression WHEN 'l' THEN 'lz4' ELSE 'pglz' END",
        "",
        "a.attcompression IN ('p', 'l')",
    ),
    ("' SET STATISTICS ', a.attstattarget", "", "a.attstattarget >= 0"),
    (f"' SET (', {storage_options('a.attoptions')}, ')'", "", "a.attoptions IS NOT NULL"),
)


def _column_changes(
    described: str, these: str, changes: Sequence[tuple[str, str, str]]
) -> tuple[str, ...]:
    """`described` is the ID of the object whose definition has the changes."""
    return tuple(
        f"""SELECT {described} AS id, to_char(a.attnum, '0000') AS rank,
          concat('ALTER TABLE ONLY ', c.oid::regclass, ' ALTER COLUMN ', quote_ident(a.attname),
            {change}) AS text
        FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
          AND a.attnum > 0 AND NOT a.attisdropped {joined}
        WHERE {these} AND {condition}"""  # noqa: S608 - constants
        for change, joined, condition in changes
    )


def _column_comment(described: str, these: str) -> str:
    return f"""SELECT {described} AS id, to_char(a.attnum, '0000') AS rank,
      format('COMMENT ON COLUMN %s.%I IS %L', c.oid::regclass, a.attname, de.description) AS text
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
      AND NOT a.attisdropped
    JOIN pg_description AS de ON de.classoid = 'pg_class'::regclass AND de.objoid = c.oid
      AND de.objsubid = a.attnum
    WHERE {these}"""  # noqa: S608 - constants


CHANGES = (
    *_column_changes("c.oid::bigint", _RELATIONS, (*_OF_CHILD_COLUMN, *_OF_ANY_COLUMN)),
    # USING INDEX follows the creation of the index.
    _STATE.format(
        "' REPLICA IDENTITY ', CASE c.relreplident WHEN 'f' THEN 'FULL' ELSE 'NOTHING' END",
        "c.relkind IN ('r', 'p') AND c.relreplident IN ('f', 'n')",
    ),
    _STATE.format("' ENABLE ROW LEVEL SECURITY'", "c.relrowsecurity"),
    _STATE.format("' FORCE ROW LEVEL SECURITY'", "c.relforcerowsecurity"),
)

COMMENTS = (
    comment(
        "pg_class",
        "word, ' ', object::regclass",
        f"""SELECT c.oid::bigint AS id, c.oid AS object, {RELATION_WORD} AS word
        FROM pg_class AS c WHERE {_RELATIONS}""",  # noqa: S608 - constants
    ),
    _column_comment("c.oid::bigint", _RELATIONS),
)
CHANGES_OF_COLUMN = (
    *_column_changes(COLUMN_ID, ADDED_COLUMNS, _OF_ANY_COLUMN),
    _column_comment(COLUMN_ID, ADDED_COLUMNS),
)

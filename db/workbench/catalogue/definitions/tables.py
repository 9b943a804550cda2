"""Definitions of tables: ordinary, partitioned, partitions, inherited, typed and foreign ones."""

from db.workbench.catalogue.definitions.constraints import CLAUSE, IS_REPEATED
from db.workbench.catalogue.definitions.fragments import (
    ADDED_COLUMNS,
    ASKED_TABLES,
    COLUMN_ID,
    PERSISTENCE,
    foreign_options,
    storage_options,
    tablespace,
)
from db.workbench.catalogue.definitions.sequences import IDENTITY

_TABLES = "c.oid = ANY($1::bigint[]::oid[]) AND c.relkind IN ('r', 'p', 'f')"

# PostgreSQL 18 gives each NOT NULL a constraint. The name is printed if it is not the usual one.
_NOT_NULL = """CASE WHEN con.oid IS NULL THEN CASE WHEN a.attnotnull THEN ' NOT NULL' END
  WHEN con.convalidated AND (con.conislocal OR c.relispartition) THEN concat(
    CASE WHEN con.conname <> concat(c.relname, '_', a.attname, '_not_null')
      THEN ' CONSTRAINT ' || quote_ident(con.conname) END,
    ' NOT NULL', CASE WHEN con.connoinherit THEN ' NO INHERIT' END) END"""

# A child that has all columns for itself, as after ALTER TABLE ... INHERIT. They keep their order
# only if it is made so again.
_IS_ADOPTED = """NOT c.relispartition
  AND EXISTS (SELECT FROM pg_inherits AS h WHERE h.inhrelid = c.oid)
  AND NOT EXISTS (SELECT FROM pg_attribute AS a
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND NOT a.attislocal)
  AND NOT EXISTS (SELECT FROM pg_constraint AS con WHERE con.conrelid = c.oid
    AND con.contype IN ('c', 'n') AND NOT con.conislocal)"""

_OF_PARENTS = """FROM pg_inherits AS h JOIN pg_attribute AS p
      ON p.attrelid = h.inhparent AND p.attname = a.attname AND p.atthasdef
    JOIN pg_attrdef AS pd ON pd.adrelid = p.attrelid AND pd.adnum = p.attnum
    WHERE h.inhrelid = c.oid AND NOT c.relispartition AND NOT c.is_adopted"""

# A child gets the default of its parent if it has none, and has to get its generation expression
# from the parent before PostgreSQL 16. A default has no columns: without the table, PostgreSQL does
# not list those of a wide one each time.
_VALUE = f"""CASE
  WHEN a.attgenerated <> '' THEN CASE WHEN NOT EXISTS (SELECT {_OF_PARENTS}
      AND pg_get_expr(pd.adbin, pd.adrelid) = pg_get_expr(d.adbin, d.adrelid))
    THEN concat(' GENERATED ALWAYS AS (', pg_get_expr(d.adbin, d.adrelid), ')',
      CASE a.attgenerated WHEN 's' THEN ' STORED' END) END
  WHEN a.attidentity <> '' AND NOT c.relispartition THEN ' ' || {IDENTITY}
  WHEN d.oid IS NOT NULL THEN ' DEFAULT ' || pg_get_expr(d.adbin, 0)
  WHEN EXISTS (SELECT {_OF_PARENTS}) THEN ' DEFAULT NULL' END"""

_LINE = f"""concat(quote_ident(a.attname),
    CASE WHEN c.reloftype = 0 THEN ' ' || format_type(a.atttypid, a.atttypmod)
         ELSE ' WITH OPTIONS' END,
    {foreign_options("a.attfdwoptions")},
    CASE WHEN a.attcollation <> t.typcollation AND c.reloftype = 0
      THEN ' COLLATE ' || a.attcollation::regcollation END,
    {_VALUE}, {_NOT_NULL})"""


def _of_line(tables: str) -> str:
    """What the line of the column `a` is made from, for the OIDs `tables`.

    No index finds the NOT NULL constraint of a column, so those of the tables are read once: for
    10,000 columns of tables with 1,500, each by itself took 5 s.
    """
    return f"""JOIN pg_type AS t ON t.oid = a.atttypid
  LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  LEFT JOIN (SELECT n.*, n.conkey[1] AS attnum FROM pg_constraint AS n
      WHERE n.contype = 'n' AND n.conrelid = {tables} OFFSET 0) AS con
    ON con.conrelid = a.attrelid AND con.attnum = a.attnum"""  # noqa: S608 - constants


# A partition is made with all its columns and attached then, so that their order and the names of
# its constraints and indexes stay. Another child gets the columns of its parents.
_COLUMNS = f"""SELECT 0 AS step, to_char(a.attnum, '0000') AS rank, {_LINE} AS line
  FROM pg_attribute AS a {_of_line("c.oid")}
  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    AND (a.attislocal OR c.relispartition)
    AND (c.reloftype = 0 OR d.oid IS NOT NULL OR a.attnotnull)"""  # noqa: S608 - constants

COLUMN = f"""SELECT {COLUMN_ID} AS id, '' AS rank,
    concat('ALTER TABLE ', c.oid::regclass, ' ADD COLUMN ', {_LINE}) AS text
  FROM (SELECT *, false AS is_adopted FROM pg_class) AS c
  JOIN pg_attribute AS a ON a.attrelid = c.oid {_of_line(ASKED_TABLES)}
  WHERE {ADDED_COLUMNS} AND c.relkind <> 'c'"""  # noqa: S608 - constants

_CONSTRAINTS = f"""SELECT 1 + strpos('puxcn', con.contype::text), con.conname,
    concat('CONSTRAINT ', quote_ident(con.conname), ' ', {CLAUSE})
  FROM pg_constraint AS con WHERE con.conrelid = c.oid AND con.convalidated
    AND (con.contype IN ('p', 'u', 'x') AND NOT {IS_REPEATED}
      OR con.contype = 'c' AND (con.conislocal OR c.relispartition)
      OR con.contype = 'n' AND con.conislocal AND NOT c.relispartition AND EXISTS (
        SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid
          AND a.attnum = con.conkey[1] AND NOT a.attislocal))"""  # noqa: S608 - constants

TABLE = f"""SELECT c.oid::bigint AS id, '' AS rank, concat('CREATE ',
    CASE WHEN c.relkind <> 'p' THEN {PERSISTENCE} END,
    CASE WHEN c.relkind = 'f' THEN 'FOREIGN ' END, 'TABLE ', c.oid::regclass,
    CASE WHEN c.reloftype <> 0 THEN ' OF ' || c.reloftype::regtype END,
    CASE WHEN lines <> '' THEN E' (\\n    ' || lines || E'\\n)'
         WHEN c.reloftype = 0 THEN ' ()' END,
    CASE WHEN NOT c.relispartition AND NOT c.is_adopted THEN E'\\nINHERITS (' || (
      SELECT string_agg(h.inhparent::regclass::text, ', ' ORDER BY h.inhseqno)
      FROM pg_inherits AS h WHERE h.inhrelid = c.oid) || ')' END,
    E'\\nPARTITION BY ' || pg_get_partkeydef(c.oid),
    (SELECT E'\\nUSING ' || quote_ident(am.amname) FROM pg_am AS am
     WHERE am.oid = c.relam AND (am.amname <> 'heap' OR c.relkind = 'p')),
    E'\\nWITH (' || nullif(concat_ws(', ', {storage_options("c.reloptions")},
      (SELECT {storage_options("x.reloptions", "toast.")} FROM pg_class AS x
       WHERE x.oid = c.reltoastrelid)), '') || ')',
    E'\\nTABLESPACE ' || {tablespace("c")},
    (SELECT concat(E'\\nSERVER ', quote_ident(srv.srvname), {foreign_options("f.ftoptions")})
     FROM pg_foreign_table AS f JOIN pg_foreign_server AS srv ON srv.oid = f.ftserver
     WHERE f.ftrelid = c.oid)) AS text
  FROM (SELECT c.*, {_IS_ADOPTED} AS is_adopted FROM pg_class AS c WHERE {_TABLES}) AS c
  CROSS JOIN LATERAL (
    SELECT string_agg(line, E',\\n    ' ORDER BY step, rank COLLATE "C") AS lines
    FROM ({_COLUMNS} UNION ALL {_CONSTRAINTS}) AS item) AS body"""  # noqa: S608 - constants

ATTACH = f"""SELECT c.oid::bigint AS id, h.inhseqno AS rank, CASE WHEN c.relispartition
    THEN format('ALTER TABLE ONLY %s ATTACH PARTITION %s %s',
      h.inhparent::regclass, c.oid::regclass, pg_get_expr(c.relpartbound, c.oid))
    ELSE format('ALTER TABLE %s INHERIT %s', c.oid::regclass, h.inhparent::regclass) END AS text
  FROM pg_class AS c JOIN pg_inherits AS h ON h.inhrelid = c.oid
  WHERE {_TABLES} AND (c.relispartition OR {_IS_ADOPTED})"""  # noqa: S608 - constants

"""Definitions of indexes, by themselves and as parts of tables and constraints."""

from db.workbench.catalogue.definitions.constraints import CLAUSE
from db.workbench.catalogue.definitions.fragments import comment, tablespace

# Each selects (id, object) with the OID of an index in `object`.
_OF_TABLE = """SELECT i.indrelid::bigint AS id, i.indexrelid AS object FROM pg_index AS i
  JOIN pg_class AS t ON t.oid = i.indrelid
  WHERE i.indrelid = ANY($1::bigint[]::oid[]) AND (i.indisvalid OR t.relkind = 'p')"""
_OF_INDEX = """SELECT i.indexrelid::bigint AS id, i.indexrelid AS object FROM pg_index AS i
  WHERE i.indexrelid = ANY($1::bigint[]::oid[])"""
_OF_CONSTRAINT = """SELECT con.oid::bigint AS id, con.conindid AS object
  FROM pg_constraint AS con
  WHERE con.oid = ANY($1::bigint[]::oid[]) AND con.contype IN ('p', 'u', 'x')"""

_WITH_CONSTRAINT = """LEFT JOIN pg_constraint AS con
  ON con.conindid = object AND con.contype IN ('p', 'u', 'x')"""

# pg_get_indexdef() says ONLY for the index of a partitioned table, and omits the tablespace, which
# stands before WHERE.
_CREATE = f"""SELECT id, c.relname AS rank, CASE WHEN c.relkind = 'I'
    THEN overlay(full_text PLACING '' FROM length(head) + 1 FOR length('ONLY '))
    ELSE full_text END AS text
  FROM ({{}}) AS item JOIN pg_class AS c ON c.oid = object JOIN pg_index AS i ON indexrelid = object
  {_WITH_CONSTRAINT},
  pg_get_indexdef(object) AS full_text,
  concat('CREATE ', CASE WHEN i.indisunique THEN 'UNIQUE ' END, 'INDEX ', quote_ident(c.relname),
         ' ON ') AS head
  WHERE con.oid IS NULL"""  # noqa: S608 - constants


def _changes(source: str) -> tuple[str, ...]:
    """Parts that follow the creation of the indexes of `source`."""
    return (
        # The index of a constraint has its tablespace in the constraint, except for EXCLUDE.
        f"""SELECT id, c.relname AS rank, format('ALTER INDEX %s SET TABLESPACE %s',
          object::regclass, {tablespace("c")}) AS text
        FROM ({source}) AS item JOIN pg_class AS c ON c.oid = object {_WITH_CONSTRAINT}
        WHERE c.reltablespace <> 0 AND (con.oid IS NULL OR con.contype = 'x')""",  # noqa: S608 - constants
        f"""SELECT id, concat(c.relname, to_char(a.attnum, ' 0000')),
          format('ALTER INDEX %s ALTER COLUMN %s SET STATISTICS %s',
            object::regclass, a.attnum, a.attstattarget)
        FROM ({source}) AS item JOIN pg_class AS c ON c.oid = object
        JOIN pg_attribute AS a ON a.attrelid = object AND a.attstattarget >= 0""",  # noqa: S608 - constants
        f"""SELECT id, '', format('ALTER TABLE %s CLUSTER ON %I',
          i.indrelid::regclass, c.relname)
        FROM ({source}) AS item JOIN pg_class AS c ON c.oid = object
        JOIN pg_index AS i ON i.indexrelid = object WHERE i.indisclustered""",  # noqa: S608 - constants
        f"""SELECT id, '', format('ALTER TABLE ONLY %s REPLICA IDENTITY USING INDEX %I',
          i.indrelid::regclass, c.relname)
        FROM ({source}) AS item JOIN pg_class AS c ON c.oid = object
        JOIN pg_index AS i ON i.indexrelid = object WHERE i.indisreplident""",  # noqa: S608 - constants
        comment("pg_class", "'INDEX ' || object::regclass", source),
    )


OF_TABLE = (_CREATE.format(_OF_TABLE), *_changes(_OF_TABLE))
OF_CONSTRAINT = _changes(_OF_CONSTRAINT)
INDEX = (
    # The index of a constraint is made only with its constraint.
    f"""SELECT i.indexrelid::bigint AS id, '' AS rank,
      format('ALTER TABLE %s%s ADD CONSTRAINT %I %s',
        CASE WHEN c.relkind <> 'p' THEN 'ONLY ' END, con.conrelid::regclass, con.conname,
        {CLAUSE}) AS text
    FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid
    JOIN pg_constraint AS con ON con.conindid = i.indexrelid AND con.contype IN ('p', 'u', 'x')
    WHERE i.indexrelid = ANY($1::bigint[]::oid[])""",  # noqa: S608 - constants
    _CREATE.format(_OF_INDEX),
    *_changes(_OF_INDEX),
)
ATTACH = """SELECT h.inhrelid::bigint AS id, '' AS rank,
    format('ALTER INDEX %s ATTACH PARTITION %s',
      h.inhparent::regclass, h.inhrelid::regclass) AS text
  FROM pg_inherits AS h JOIN pg_class AS c ON c.oid = h.inhrelid AND c.relkind IN ('i', 'I')
  WHERE h.inhrelid = ANY($1::bigint[]::oid[])"""

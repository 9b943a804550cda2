"""Definitions of sequences, by themselves and as parts of the tables that own them."""

from db.workbench.catalogue.definitions.fragments import (
    ADDED_COLUMNS,
    COLUMN_ID,
    PERSISTENCE,
    comment,
)

# The bounds and the start are printed where they are not the defaults of the type and direction.
OPTIONS = """(SELECT concat(
    CASE WHEN s.seqincrement <> 1 THEN ' INCREMENT BY ' || s.seqincrement END,
    CASE WHEN s.seqmin <> CASE WHEN up THEN 1 ELSE -top - 1 END
      THEN ' MINVALUE ' || s.seqmin END,
    CASE WHEN s.seqmax <> CASE WHEN up THEN top ELSE -1 END THEN ' MAXVALUE ' || s.seqmax END,
    CASE WHEN s.seqstart <> CASE WHEN up THEN s.seqmin ELSE s.seqmax END
      THEN ' START WITH ' || s.seqstart END,
    CASE WHEN s.seqcache <> 1 THEN ' CACHE ' || s.seqcache END,
    CASE WHEN s.seqcycle THEN ' CYCLE' END)
  FROM (SELECT s.seqincrement > 0 AS up, CASE s.seqtypid WHEN 'int2'::regtype THEN 32767
    WHEN 'int4'::regtype THEN 2147483647 ELSE 9223372036854775807 END AS top) AS bounds)"""

_CREATE = f"""concat('CREATE ', {PERSISTENCE}, 'SEQUENCE ', c.oid::regclass,
  CASE WHEN s.seqtypid <> 'int8'::regtype THEN ' AS ' || s.seqtypid::regtype END, {OPTIONS})"""
_OWNED_BY = """format('ALTER SEQUENCE %s OWNED BY %s.%I',
  c.oid::regclass, d.refobjid::regclass, a.attname)"""
_PERSISTENCE = """SELECT {} AS id, c.relname AS rank, format('ALTER SEQUENCE %s SET %s',
    c.oid::regclass, CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED' ELSE 'LOGGED' END) AS text
  {} JOIN pg_class AS t ON t.oid = d.refobjid
  WHERE {} AND d.deptype = 'i' AND c.relpersistence <> t.relpersistence AND t.relkind = 'r'
    AND current_setting('server_version_num')::int >= 150000"""

_SEQUENCES = "FROM pg_class AS c JOIN pg_sequence AS s ON s.seqrelid = c.oid"
# The column that owns a sequence: deptype is `a` for OWNED BY, `i` for an identity column.
_OWNERS = """pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
    AND d.objsubid = 0 AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
    AND d.deptype IN ('a', 'i')
  {} JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid"""
_OWNED = f"{_SEQUENCES} JOIN {_OWNERS.format('')}"
_THESE = "c.oid = ANY($1::bigint[]::oid[])"
_OF_THESE = "d.refobjid = ANY($1::bigint[]::oid[])"

IDENTITY = f"""concat('GENERATED ', CASE a.attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END,
  ' AS IDENTITY', (SELECT ' (' || nullif(trim(concat(
      CASE WHEN c.relname <> concat(t.relname, '_', a.attname, '_seq')
             OR c.relnamespace <> t.relnamespace
        THEN 'SEQUENCE NAME ' || c.oid::regclass END, {OPTIONS})), '') || ')'
    {_SEQUENCES} JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
      AND d.deptype = 'i' AND d.refclassid = 'pg_class'::regclass
    JOIN pg_class AS t ON t.oid = d.refobjid
    WHERE d.refobjid = a.attrelid AND d.refobjsubid = a.attnum))"""
"""An expression: the identity clause of the column `a`."""

SEQUENCE = (
    f"""SELECT c.oid::bigint AS id, '' AS rank, CASE WHEN d.deptype = 'i' THEN
      format('ALTER TABLE %s ALTER COLUMN %I ADD %s', d.refobjid::regclass, a.attname, {IDENTITY})
      ELSE {_CREATE} END AS text
    {_SEQUENCES} LEFT JOIN {_OWNERS.format("LEFT")} WHERE {_THESE}""",
    _PERSISTENCE.format("c.oid::bigint", _OWNED, _THESE),
    f"SELECT c.oid::bigint, '', {_OWNED_BY} {_OWNED} WHERE {_THESE} AND d.deptype = 'a'",
    comment(
        "pg_class",
        "'SEQUENCE ' || object::regclass",
        f"SELECT c.oid::bigint AS id, c.oid AS object {_SEQUENCES} WHERE {_THESE}",
    ),
)


def _of_owners(owner: str, these: str) -> tuple[str, tuple[str, ...]]:
    """The part that creates the sequences of `these` owners, and those that follow theirs."""
    return (
        f"""SELECT {owner} AS id, c.relname AS rank, {_CREATE} AS text
        {_OWNED} WHERE {these} AND d.deptype = 'a'""",
        (
            f"""SELECT {owner} AS id, c.relname AS rank, {_OWNED_BY} AS text
            {_OWNED} WHERE {these} AND d.deptype = 'a'""",
            _PERSISTENCE.format(owner, _OWNED, these),
            comment(
                "pg_class",
                "'SEQUENCE ' || object::regclass",
                f"SELECT {owner} AS id, c.oid AS object {_OWNED} WHERE {these}",
            ),
        ),
    )


OF_TABLE, CHANGES_OF_TABLE = _of_owners("d.refobjid::bigint", _OF_THESE)
OF_COLUMN, CHANGES_OF_COLUMN = _of_owners(COLUMN_ID, ADDED_COLUMNS)

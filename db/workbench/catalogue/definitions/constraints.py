"""Definitions of constraints: those of tables and of domains."""

from db.workbench.catalogue.definitions.fragments import comment, storage_options, tablespace

# pg_get_constraintdef() omits the parameters of the index of a primary key or unique constraint.
# They stand before the words that end its text.
CLAUSE = f"""CASE WHEN con.contype IN ('p', 'u') THEN (
  SELECT concat(left(full_text, length(full_text) - length(tail)),
    ' WITH (' || {storage_options("x.reloptions")} || ')',
    ' USING INDEX TABLESPACE ' || {tablespace("x")}, tail)
  FROM pg_class AS x, pg_get_constraintdef(con.oid) AS full_text,
    concat(CASE WHEN con.condeferrable THEN ' DEFERRABLE' END,
           CASE WHEN con.condeferred THEN ' INITIALLY DEFERRED' END, '') AS tail
  WHERE x.oid = con.conindid)
ELSE pg_get_constraintdef(con.oid) END"""  # noqa: S608 - constants

# ONLY where partitions would get a constraint of their own: they have theirs. A CHECK or NOT NULL
# constraint must be added to the children as well, and a foreign key is defined by the parent.
_ADD = f"""concat('ALTER TABLE ',
  CASE WHEN con.contype IN ('p', 'u', 'x', 'f') AND c.relkind <> 'p' THEN 'ONLY ' END,
  con.conrelid::regclass, ' ADD CONSTRAINT ', quote_ident(con.conname), ' ', {CLAUSE})"""

# A constraint trigger (`t`) is defined as a trigger.
CONSTRAINT = (
    f"""SELECT con.oid::bigint AS id, '' AS rank, {_ADD} AS text
    FROM pg_constraint AS con JOIN pg_class AS c ON c.oid = con.conrelid
    WHERE con.oid = ANY($1::bigint[]::oid[]) AND con.contype <> 't'""",  # noqa: S608 - constants
    """SELECT con.oid::bigint, '', format('ALTER DOMAIN %s ADD CONSTRAINT %I %s',
      con.contypid::regtype, con.conname, pg_get_constraintdef(con.oid))
    FROM pg_constraint AS con WHERE con.oid = ANY($1::bigint[]::oid[]) AND con.contypid <> 0""",
)

_DESCRIBED = """format('CONSTRAINT %I ON %s', conname, CASE WHEN conrelid <> 0
  THEN conrelid::regclass::text ELSE 'DOMAIN ' || contypid::regtype END)"""

COMMENT = comment(
    "pg_constraint",
    _DESCRIBED,
    """SELECT oid::bigint AS id, oid AS object, conname, conrelid, contypid
    FROM pg_constraint WHERE oid = ANY($1::bigint[]::oid[])""",
)
COMMENTS_OF_TABLE = comment(
    "pg_constraint",
    _DESCRIBED,
    """SELECT conrelid::bigint AS id, oid AS object, conname, conrelid, contypid
    FROM pg_constraint WHERE conrelid = ANY($1::bigint[]::oid[]) AND contype <> 't'""",
)
COMMENTS_OF_DOMAIN = comment(
    "pg_constraint",
    _DESCRIBED,
    """SELECT contypid::bigint AS id, oid AS object, conname, conrelid, contypid
    FROM pg_constraint WHERE contypid = ANY($1::bigint[]::oid[])""",
)

# CREATE TABLE merges keys of the same columns, and regards all constraints as valid.
IS_REPEATED = """EXISTS (SELECT FROM pg_constraint AS other
  WHERE other.conrelid = con.conrelid AND other.contype IN ('p', 'u', 'x')
    AND other.conkey = con.conkey AND (other.contype, other.oid) < (con.contype, con.oid))"""
ADDED = f"""SELECT con.conrelid::bigint AS id, con.conname AS rank, {_ADD} AS text
  FROM pg_constraint AS con JOIN pg_class AS c ON c.oid = con.conrelid
  WHERE con.conrelid = ANY($1::bigint[]::oid[]) AND (
    con.contype IN ('c', 'n') AND NOT con.convalidated AND (con.conislocal OR c.relispartition)
    OR con.contype IN ('p', 'u', 'x') AND {IS_REPEATED})"""  # noqa: S608 - constants

# A partition gets the foreign keys of its parent when it is attached.
FOREIGN_KEYS = f"""SELECT con.conrelid::bigint AS id, con.conname AS rank, {_ADD} AS text
  FROM pg_constraint AS con JOIN pg_class AS c ON c.oid = con.conrelid
  WHERE con.conrelid = ANY($1::bigint[]::oid[]) AND con.contype = 'f'
    AND con.conparentid = 0"""  # noqa: S608 - constants

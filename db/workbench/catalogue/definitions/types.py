"""Definitions of types: enums, domains, ranges, composite, base and shell types."""

from db.workbench.catalogue.definitions.constraints import COMMENTS_OF_DOMAIN
from db.workbench.catalogue.definitions.fragments import ADDED_COLUMNS, COLUMN_ID, comment

_THESE = "t.oid = ANY($1::bigint[]::oid[])"
_TYPES = "FROM pg_type AS t"

_ENUM = f"""SELECT t.oid::bigint AS id, '' AS rank, concat('CREATE TYPE ', t.oid::regtype,
    ' AS ENUM (', (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)
      FROM pg_enum AS e WHERE e.enumtypid = t.oid), ')') AS text
  {_TYPES} WHERE {_THESE} AND t.typtype = 'e'"""  # noqa: S608 - constants

_ATTRIBUTE = """concat(quote_ident(a.attname), ' ', format_type(a.atttypid, a.atttypmod),
    CASE WHEN a.attcollation <> at.typcollation
      THEN ' COLLATE ' || a.attcollation::regcollation END)"""
ATTRIBUTE = f"""SELECT {COLUMN_ID} AS id, '' AS rank,
    concat('ALTER TYPE ', c.oid::regclass, ' ADD ATTRIBUTE ', {_ATTRIBUTE},
      CASE WHEN EXISTS (SELECT FROM pg_class AS typed WHERE typed.reloftype = c.reltype)
        THEN ' CASCADE' END) AS text
  FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
  JOIN pg_type AS at ON at.oid = a.atttypid
  WHERE {ADDED_COLUMNS} AND c.relkind = 'c'"""  # noqa: S608 - constants

# The row types of tables and views have no definition of their own.
_COMPOSITE = f"""SELECT t.oid::bigint AS id, '' AS rank, concat('CREATE TYPE ', t.oid::regtype,
    ' AS (', (SELECT E'\\n    ' || string_agg({_ATTRIBUTE}, E',\\n    ' ORDER BY a.attnum)
        || E'\\n'
      FROM pg_attribute AS a JOIN pg_type AS at ON at.oid = a.atttypid
      WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped), ')') AS text
  {_TYPES} JOIN pg_class AS c ON c.oid = t.typrelid AND c.relkind = 'c'
  WHERE {_THESE}"""  # noqa: S608 - constants

# PostgreSQL 17 gives NOT NULL of a domain a constraint.
_DOMAIN = f"""SELECT t.oid::bigint AS id, '' AS rank, concat('CREATE DOMAIN ', t.oid::regtype,
    ' AS ', format_type(t.typbasetype, t.typtypmod),
    CASE WHEN t.typcollation <> b.typcollation
      THEN ' COLLATE ' || t.typcollation::regcollation END,
    ' DEFAULT ' || coalesce(pg_get_expr(t.typdefaultbin, 0), quote_literal(t.typdefault)),
    CASE WHEN t.typnotnull AND NOT EXISTS (SELECT FROM pg_constraint AS con
      WHERE con.contypid = t.oid AND con.contype = 'n') THEN ' NOT NULL' END,
    (SELECT string_agg(format(E'\\n    CONSTRAINT %I %s', con.conname,
        pg_get_constraintdef(con.oid)), '' ORDER BY con.contype DESC, con.conname)
     FROM pg_constraint AS con WHERE con.contypid = t.oid AND con.convalidated)) AS text
  {_TYPES} JOIN pg_type AS b ON b.oid = t.typbasetype
  WHERE {_THESE} AND t.typtype = 'd'"""  # noqa: S608 - constants
_UNCHECKED = f"""SELECT t.oid::bigint AS id, con.conname AS rank,
    format('ALTER DOMAIN %s ADD CONSTRAINT %I %s', t.oid::regtype, con.conname,
      pg_get_constraintdef(con.oid)) AS text
  {_TYPES} JOIN pg_constraint AS con ON con.contypid = t.oid
  WHERE {_THESE} AND NOT con.convalidated"""

_RANGE = f"""SELECT t.oid::bigint AS id, '' AS rank, concat('CREATE TYPE ', t.oid::regtype,
    E' AS RANGE (\\n    ', concat_ws(E',\\n    ',
      'SUBTYPE = ' || format_type(r.rngsubtype, NULL),
      'MULTIRANGE_TYPE_NAME = ' || r.rngmultitypid::regtype,
      CASE WHEN NOT oc.opcdefault
        THEN format('SUBTYPE_OPCLASS = %I.%I', ocn.nspname, oc.opcname) END,
      CASE WHEN r.rngcollation <> st.typcollation
        THEN 'COLLATION = ' || r.rngcollation::regcollation END,
      CASE WHEN r.rngcanonical <> 0 THEN 'CANONICAL = ' || r.rngcanonical END,
      CASE WHEN r.rngsubdiff <> 0 THEN 'SUBTYPE_DIFF = ' || r.rngsubdiff END), E'\\n)') AS text
  {_TYPES} JOIN pg_range AS r ON r.rngtypid = t.oid JOIN pg_type AS st ON st.oid = r.rngsubtype
  JOIN pg_opclass AS oc ON oc.oid = r.rngsubopc
  JOIN pg_namespace AS ocn ON ocn.oid = oc.opcnamespace
  WHERE {_THESE} AND t.typtype = 'r'"""


def _function(column: str, name: str) -> str:
    return f"CASE WHEN t.{column} <> 0 THEN '{name} = ' || t.{column} END"


# Needs a shell type and its functions, which PostgreSQL makes from `CREATE TYPE name` and
# CREATE FUNCTION; only a superuser may do this.
_BASE_PARAMETERS = (
    "'INPUT = ' || t.typinput",
    "'OUTPUT = ' || t.typoutput",
    _function("typreceive", "RECEIVE"),
    _function("typsend", "SEND"),
    _function("typmodin", "TYPMOD_IN"),
    _function("typmodout", "TYPMOD_OUT"),
    _function("typanalyze", "ANALYZE"),
    _function("typsubscript", "SUBSCRIPT"),
    "'INTERNALLENGTH = ' || CASE WHEN t.typlen > 0 THEN t.typlen::text ELSE 'VARIABLE' END",
    "CASE WHEN t.typbyval THEN 'PASSEDBYVALUE' END",
    """'ALIGNMENT = ' || CASE t.typalign WHEN 'c' THEN 'char' WHEN 's' THEN 'int2'
      WHEN 'd' THEN 'double' ELSE 'int4' END""",
    """'STORAGE = ' || CASE t.typstorage WHEN 'e' THEN 'external' WHEN 'x' THEN 'extended'
      WHEN 'm' THEN 'main' ELSE 'plain' END""",
    "CASE WHEN t.typcategory <> 'U' THEN 'CATEGORY = ' || quote_literal(t.typcategory::text) END",
    "CASE WHEN t.typispreferred THEN 'PREFERRED = true' END",
    "'DEFAULT = ' || quote_literal(t.typdefault)",
    "CASE WHEN t.typelem <> 0 THEN 'ELEMENT = ' || format_type(t.typelem, NULL) END",
    "CASE WHEN t.typdelim <> ',' THEN 'DELIMITER = ' || quote_literal(t.typdelim::text) END",
    "CASE WHEN t.typcollation <> 0 THEN 'COLLATABLE = true' END",
)
# An array type is made with its element type, from which it is known by `typarray`.
_BASE = f"""SELECT t.oid::bigint AS id, '' AS rank, concat('CREATE TYPE ', t.oid::regtype,
    CASE WHEN t.typisdefined THEN concat(E' (\\n    ',
      concat_ws(E',\\n    ', {", ".join(_BASE_PARAMETERS)}), E'\\n)') END) AS text
  {_TYPES} WHERE {_THESE} AND (t.typtype = 'b' OR NOT t.typisdefined)
    AND NOT EXISTS (SELECT FROM pg_type AS e WHERE e.oid = t.typelem AND e.typarray = t.oid)"""  # noqa: S608 - constants

_ATTRIBUTE_COMMENTS = f"""SELECT t.oid::bigint AS id, to_char(a.attnum, '0000') AS rank,
    format('COMMENT ON COLUMN %s.%I IS %L', t.oid::regtype, a.attname, de.description) AS text
  {_TYPES} JOIN pg_class AS c ON c.oid = t.typrelid AND c.relkind = 'c'
  JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_description AS de ON de.classoid = 'pg_class'::regclass AND de.objoid = c.oid
    AND de.objsubid = a.attnum
  WHERE {_THESE}"""

TYPE = (
    _BASE,
    _ENUM,
    _COMPOSITE,
    _DOMAIN,
    _RANGE,
    _UNCHECKED,
    comment(
        "pg_type",
        "word, ' ', object::regtype",
        f"""SELECT t.oid::bigint AS id, t.oid AS object,
          CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END AS word {_TYPES}
        WHERE {_THESE}""",
    ),
    _ATTRIBUTE_COMMENTS,
    COMMENTS_OF_DOMAIN,
)

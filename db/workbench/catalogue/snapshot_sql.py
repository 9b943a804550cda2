"""SQL that reads the whole catalogue of a user's database: one JSON array for each object.

PostgreSQL makes the arrays of columns and labels, and msgspec decodes them: a row for each of
50,000 columns would take several times as long to receive. Objects of PostgreSQL itself come last
where a limit applies. Comments and expressions are cut: an editor shows their beginning.
"""

from db.workbench.catalogue.objects.kinds import IS_SHOWN_SCHEMA

MAX_SNAPSHOT_OBJECTS = 50_000
"""The limit of each kind: relations with sequences, functions, types, schemas."""
MAX_SNAPSHOT_COLUMNS = 250_000
"""The relations beyond have no columns in the snapshot."""
MAX_COMMENT_CHARS = 500
MAX_SIGNATURE_CHARS = 2_000
MAX_LABELS = 1_000

_IS_SYSTEM = "(n.nspname ~ '^pg_' OR n.nspname = 'information_schema')"
_BY_NAME = 'ORDER BY schema COLLATE "C", name COLLATE "C"'

SETTINGS = """
SELECT current_setting('server_version_num')::int, current_schemas(true)::text[],
       (SELECT coalesce(sum(relnatts), 0)::bigint FROM pg_class
        WHERE relkind IN ('r', 'p', 'v', 'm', 'f'))
"""
KEYWORDS = "SELECT word::text, catcode::text FROM pg_get_keywords()"
SCHEMAS = f"""
SELECT json_build_array(oid, name, comment)::text FROM (
  SELECT n.oid::bigint AS oid, n.nspname::text AS name,
         left(obj_description(n.oid, 'pg_namespace'), {MAX_COMMENT_CHARS}) AS comment
  FROM pg_namespace AS n WHERE {IS_SHOWN_SCHEMA}
  ORDER BY {_IS_SYSTEM}, n.oid LIMIT {MAX_SNAPSHOT_OBJECTS}
) AS object ORDER BY name COLLATE "C"
"""  # noqa: S608 - constants
RELATIONS = f"""
WITH relation AS (
  SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,
         left(d.description, {MAX_COMMENT_CHARS}) AS comment,
         CASE WHEN c.relkind <> 'S'
           THEN sum(c.relnatts) OVER (ORDER BY {_IS_SYSTEM}, c.oid) END AS columns_so_far
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_description AS d
    ON d.objoid = c.oid AND d.classoid = 'pg_class'::regclass AND d.objsubid = 0
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND {IS_SHOWN_SCHEMA}
  ORDER BY {_IS_SYSTEM}, c.oid LIMIT {MAX_SNAPSHOT_OBJECTS}
), columns AS (
  SELECT a.attrelid, json_agg(json_build_array(
    a.attname, format_type(a.atttypid, a.atttypmod),
    left(d.description, {MAX_COMMENT_CHARS})) ORDER BY a.attnum) AS list
  FROM pg_attribute AS a
  JOIN relation ON relation.oid = a.attrelid AND columns_so_far <= {MAX_SNAPSHOT_COLUMNS}
  LEFT JOIN pg_description AS d
    ON d.objoid = a.attrelid AND d.classoid = 'pg_class'::regclass AND d.objsubid = a.attnum
  WHERE a.attnum > 0 AND NOT a.attisdropped GROUP BY a.attrelid
)
SELECT json_build_array(oid::bigint, schema, name, kind, comment,
                        coalesce(list, '[]'::json))::text
FROM relation LEFT JOIN columns ON attrelid = oid {_BY_NAME}
"""  # noqa: S608 - constants
FUNCTIONS = f"""
SELECT json_build_array(oid, schema, name, kind, arguments, result, comment, types)::text FROM (
  SELECT p.oid::bigint AS oid, n.nspname::text AS schema, p.proname::text AS name,
         p.prokind::text AS kind,
         left(pg_get_function_arguments(p.oid), {MAX_SIGNATURE_CHARS}) AS arguments,
         left(coalesce(pg_get_function_result(p.oid), ''), {MAX_SIGNATURE_CHARS}) AS result,
         left(d.description, {MAX_COMMENT_CHARS}) AS comment,
         oidvectortypes(p.proargtypes) AS types
  FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
  LEFT JOIN pg_description AS d ON d.objoid = p.oid AND d.classoid = 'pg_proc'::regclass
  WHERE {IS_SHOWN_SCHEMA} ORDER BY {_IS_SYSTEM}, p.oid LIMIT {MAX_SNAPSHOT_OBJECTS}
) AS object {_BY_NAME}, arguments COLLATE "C"
"""  # noqa: S608 - constants
TYPES = f"""
SELECT json_build_array(oid, schema, name, kind, coalesce(list, '[]'::json), comment)::text FROM (
  SELECT t.oid::bigint AS oid, n.nspname::text AS schema, t.typname::text AS name,
         t.typtype::text AS kind, labels.list, left(d.description, {MAX_COMMENT_CHARS}) AS comment
  FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace
  LEFT JOIN pg_class AS c ON c.oid = t.typrelid
  LEFT JOIN pg_type AS element ON element.typarray = t.oid
  LEFT JOIN (
    SELECT enumtypid,
           array_to_json((array_agg(enumlabel ORDER BY enumsortorder))[1:{MAX_LABELS}]) AS list
    FROM pg_enum GROUP BY enumtypid
  ) AS labels ON labels.enumtypid = t.oid
  LEFT JOIN pg_description AS d ON d.objoid = t.oid AND d.classoid = 'pg_type'::regclass
  WHERE {IS_SHOWN_SCHEMA} AND element.oid IS NULL AND (c.oid IS NULL OR c.relkind = 'c')
  ORDER BY {_IS_SYSTEM}, t.oid LIMIT {MAX_SNAPSHOT_OBJECTS}
) AS object {_BY_NAME}
"""  # noqa: S608 - constants

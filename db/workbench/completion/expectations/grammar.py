"""Keywords that can follow at each place of a statement, the likely ones first."""

from db.workbench.completion.statement.parts import word_set

STATEMENTS = (
    "SELECT", "INSERT INTO", "UPDATE", "DELETE FROM", "WITH", "CREATE TABLE", "ALTER TABLE",
    "DROP TABLE", "EXPLAIN", "EXPLAIN ANALYZE", "CREATE INDEX", "CREATE VIEW", "BEGIN", "COMMIT",
    "ROLLBACK", "SET", "SHOW", "TRUNCATE", "VALUES", "TABLE", "MERGE INTO", "COPY", "GRANT",
    "REVOKE", "CALL", "EXECUTE", "PREPARE", "CREATE", "ALTER", "DROP", "CREATE FUNCTION",
    "CREATE MATERIALIZED VIEW", "CREATE SCHEMA", "CREATE SEQUENCE", "CREATE TYPE",
    "CREATE TRIGGER", "CREATE POLICY", "CREATE EXTENSION", "CREATE UNIQUE INDEX",
    "CREATE OR REPLACE FUNCTION", "CREATE OR REPLACE VIEW", "CREATE ROLE", "COMMENT ON", "VACUUM",
    "ANALYZE", "REINDEX", "REFRESH MATERIALIZED VIEW", "LOCK TABLE", "DO", "DECLARE", "FETCH",
    "CLOSE", "LISTEN", "NOTIFY", "UNLISTEN", "RESET", "SAVEPOINT", "RELEASE SAVEPOINT",
    "START TRANSACTION", "CLUSTER", "CHECKPOINT", "DEALLOCATE", "DISCARD", "IMPORT FOREIGN SCHEMA",
    "REASSIGN OWNED", "SECURITY LABEL", "END", "ABORT", "LOAD",
)  # fmt: skip
QUERIES = ("SELECT", "WITH", "VALUES", "TABLE")
DATA_STATEMENTS = (*QUERIES, "INSERT INTO", "UPDATE", "DELETE FROM", "MERGE INTO")
OPERATORS = (
    "AND", "OR", "IS NULL", "IS NOT NULL", "IN", "NOT IN", "LIKE", "ILIKE", "NOT LIKE",
    "NOT ILIKE", "BETWEEN", "NOT BETWEEN", "IS", "IS NOT", "IS DISTINCT FROM",
    "IS NOT DISTINCT FROM", "SIMILAR TO", "AT TIME ZONE", "COLLATE", "NOT", "ISNULL", "NOTNULL",
    "OVERLAPS", "OPERATOR", "ESCAPE",
)  # fmt: skip
AFTER_CALL = ("OVER", "FILTER", "WITHIN GROUP")
AFTER_IS = ("NULL", "NOT NULL", "NOT", "TRUE", "FALSE", "UNKNOWN", "DISTINCT FROM", "DOCUMENT")
AFTER_IS_NOT = ("NULL", "DISTINCT FROM", "TRUE", "FALSE", "UNKNOWN")
AFTER_NOT = ("NULL", "IN", "LIKE", "ILIKE", "BETWEEN", "SIMILAR TO", "EXISTS", "DISTINCT FROM")
OPERANDS = (
    "CASE", "NULL", "NOT", "EXISTS", "TRUE", "FALSE", "CAST", "COALESCE", "NULLIF", "GREATEST",
    "LEAST", "EXTRACT", "SUBSTRING", "TRIM", "POSITION", "OVERLAY", "ARRAY", "ROW", "INTERVAL",
    "CURRENT_DATE", "CURRENT_TIMESTAMP", "CURRENT_TIME", "LOCALTIMESTAMP", "LOCALTIME",
    "CURRENT_USER", "SESSION_USER", "CURRENT_SCHEMA", "CURRENT_ROLE", "CURRENT_CATALOG", "DEFAULT",
    "DATE", "TIMESTAMP", "ANY", "ALL", "SOME", "GROUPING", "JSON_OBJECT", "JSON_ARRAY",
    "JSON_TABLE", "JSON_QUERY", "JSON_VALUE", "JSON_EXISTS", "NORMALIZE", "XMLELEMENT",
)  # fmt: skip
IN_CASE = ("WHEN", "THEN", "ELSE", "END")
BEFORE_OPERAND = word_set(
    """AND OR NOT IN LIKE ILIKE BETWEEN TO CASE WHEN THEN ELSE DISTINCT ALL ANY SOME BY FROM
    SYMMETRIC ROW ESCAPE USING WHERE ON SELECT RETURNING DEFAULT FOR FILTER VARIADIC EXISTS
    OVERLAPS ZONE"""
)
"""Words after which an expression is continued with a value."""
JOINS = (
    "JOIN", "LEFT JOIN", "INNER JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN", "NATURAL JOIN",
    "LEFT OUTER JOIN", "RIGHT OUTER JOIN", "FULL OUTER JOIN", "CROSS JOIN LATERAL",
    "LEFT JOIN LATERAL", "JOIN LATERAL",
)  # fmt: skip
JOIN_SIDES = frozenset(("LEFT", "RIGHT", "FULL", "INNER", "CROSS", "NATURAL", "OUTER"))
SELECT_ORDER = (
    ("SELECT", ("INTO",)),
    ("FROM", ("FROM",)),
    ("WHERE", ("WHERE",)),
    ("GROUP", ("GROUP BY",)),
    ("HAVING", ("HAVING",)),
    ("WINDOW", ("WINDOW",)),
    ("UNION", ("UNION", "UNION ALL", "INTERSECT", "INTERSECT ALL", "EXCEPT", "EXCEPT ALL")),
    ("ORDER", ("ORDER BY",)),
    ("LIMIT", ("LIMIT",)),
    ("OFFSET", ("OFFSET",)),
    ("FETCH", ("FETCH FIRST",)),
    ("FOR", ("FOR UPDATE", "FOR SHARE", "FOR NO KEY UPDATE", "FOR KEY SHARE")),
)
"""The clauses of a SELECT in their order, with the words that begin each."""
CHANGE_ORDER = {
    "UPDATE": ("SET", "FROM", "WHERE", "RETURNING"),
    "DELETE": ("USING", "WHERE", "RETURNING"),
    "INSERT": ("VALUES", "SELECT", "ON CONFLICT", "RETURNING"),
    "MERGE": ("USING", "ON", "WHEN MATCHED", "WHEN NOT MATCHED", "RETURNING"),
}
"""The clauses of a statement that changes a table."""
AFTER_INSERT_TABLE = ("VALUES", "SELECT", "DEFAULT VALUES", "OVERRIDING SYSTEM VALUE",
                      "OVERRIDING USER VALUE", "AS", "WITH")  # fmt: skip
SORTS = ("ASC", "DESC", "NULLS FIRST", "NULLS LAST", "USING")
WINDOW_SPEC = ("PARTITION BY", "ORDER BY", "ROWS BETWEEN", "RANGE BETWEEN", "GROUPS BETWEEN",
               "UNBOUNDED PRECEDING", "CURRENT ROW", "UNBOUNDED FOLLOWING")  # fmt: skip
LOCKS = ("UPDATE", "SHARE", "NO KEY UPDATE", "KEY SHARE")
AFTER_LOCK = ("OF", "SKIP LOCKED", "NOWAIT")
MERGE_WHEN = ("MATCHED", "NOT MATCHED", "NOT MATCHED BY SOURCE", "NOT MATCHED BY TARGET")
MERGE_ACTIONS = ("UPDATE SET", "INSERT", "DELETE", "DO NOTHING")
SETTINGS = (
    "search_path", "statement_timeout", "lock_timeout", "work_mem", "timezone", "role",
    "idle_in_transaction_session_timeout", "client_min_messages", "client_encoding", "datestyle",
    "default_transaction_isolation", "default_transaction_read_only", "enable_seqscan",
    "enable_indexscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin",
    "enable_nestloop", "extra_float_digits", "intervalstyle", "jit", "maintenance_work_mem",
    "max_parallel_workers_per_gather", "random_page_cost", "row_security", "application_name",
    "session_replication_role", "synchronous_commit", "temp_buffers", "transaction_isolation",
    "transaction_read_only", "plan_cache_mode", "effective_cache_size", "default_tablespace",
)  # fmt: skip
SET_FORMS = ("LOCAL", "SESSION", "TRANSACTION", "TIME ZONE", "ROLE", "CONSTRAINTS",
             "SESSION AUTHORIZATION")  # fmt: skip
TYPES = (
    "integer", "bigint", "text", "boolean", "numeric", "timestamptz", "timestamp", "date", "uuid",
    "jsonb", "json", "smallint", "double precision", "real", "varchar", "character varying", "char",
    "time", "interval", "bytea", "timestamp with time zone", "timestamp without time zone",
    "decimal", "int", "serial", "bigserial",
)  # fmt: skip
EXTRACTED = ("YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND", "EPOCH", "DOW", "DOY", "WEEK",
             "QUARTER", "ISODOW", "ISOYEAR")  # fmt: skip
NO_KEYWORDS = word_set(
    """BUFFERS CONNECT COSTS DATE DOW DOY EPOCH FORCE_QUOTE GENERIC_PLAN ISODOW ISOYEAR MAINTAIN
    MEMORY ON_ERROR PUBLIC QUARTER SAFE SERIALIZE SETTINGS SUMMARY TIMING USAGE VOID WAL WEEK"""
)
"""Words above that PostgreSQL does not list as keywords, whatever its version."""

"""The condition that a process is alive: it holds an advisory lock under its number."""

IS_HELD = """EXISTS (
    SELECT 1 FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 1 AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND classid::bigint = process >> 32 AND objid::bigint = process & 4294967295)"""
"""SQL on a table with a column `process` (db.runs.Liveness holds the lock)."""

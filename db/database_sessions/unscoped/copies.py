"""Open sessions in a copy of the database, which the original holds."""

from sqlalchemy import text

from db.postgres.statements import compile_change

# Only columns of the first migration: a restore runs it at the revision of the backup.
CLOSE_COPIED = compile_change(
    text("""UPDATE database_sessions
        SET state = 'CLOSED', close_reason = :reason, closed_at = clock_timestamp(),
            transaction_started_at = NULL, statement_count = 0, warning = NULL, expires_at = NULL,
            revision = revision + 1
        WHERE closed_at IS NULL
        RETURNING id""")
)

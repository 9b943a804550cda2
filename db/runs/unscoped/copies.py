"""Active runs in a copy of the database, which the original executes."""

from sqlalchemy import text

from db.kit.base import sql_list
from db.postgres.statements import compile_change
from db.runs.rows import ACTIVE

# Only columns of the first migration: a restore runs it at the revision of the backup.
INTERRUPT_COPIED = compile_change(
    text(f"""UPDATE query_runs
        SET state = 'INTERRUPTED', error = CASE state WHEN 'QUEUED' THEN :queued ELSE :running END,
            finished_at = clock_timestamp(), expires_at = now() + :keep ::interval,
            revision = revision + 1
        WHERE state IN {sql_list(ACTIVE)}
        RETURNING id""")  # noqa: S608 - constants of this module
)

"""The audit log: a table that only grows, and the trigger that records the end of each run."""

import sqlalchemy as sa

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# The retention sweep names its number of days in the transaction, and deletes only what is older.
_REFUSE_CHANGE = """
CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.created_at < now() - make_interval(
            days => nullif(current_setting('howdah.audit_days', true), '')::integer
        ) THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION '% of the audit log is refused', TG_OP
        USING ERRCODE = 'insufficient_privilege', HINT = 'HOWDAH_AUDIT_DAYS limits its age.';
END
$$
"""

# A run ends by an update, and without one if its user is removed while it executes. `origin` has
# what `db.workbench.execution.run_origin` knew at its submission.
_AUDIT_RUN = """
CREATE FUNCTION audit_query_run() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    run query_runs;
    origin jsonb;
BEGIN
    IF TG_OP = 'DELETE' THEN run := OLD; ELSE run := NEW; END IF;
    origin := coalesce(run.origin, '{}')::jsonb;
    INSERT INTO audit_events (id, owner_id, kind, outcome, actor_id, actor_email, session_id,
        token_id, request_id, address, subject_id, subject_name, details)
    VALUES (run.id, run.owner_id, 'QUERY_RUN',
        CASE run.state WHEN 'SUCCEEDED' THEN 'SUCCEEDED' ELSE 'FAILED' END,
        run.owner_id, (SELECT email FROM users WHERE id = run.owner_id),
        (origin->>'sessionId')::uuid, (origin->>'tokenId')::uuid,
        coalesce(origin->>'requestId', ''), coalesce(origin->>'address', ''),
        run.id, coalesce(origin->>'connection', ''),
        jsonb_strip_nulls(origin - '{sessionId,tokenId,requestId,address}'::text[]
            || jsonb_build_object(
            'state', CASE TG_OP WHEN 'DELETE' THEN 'INTERRUPTED' ELSE run.state END,
            'statement', coalesce(origin->>'statement', run.statement),
            'readOnly', run.read_only,
            'startedAt', run.started_at,
            'finishedAt', run.finished_at,
            'elapsedMs', round(extract(epoch FROM run.finished_at - run.started_at) * 1000),
            'rowCount', run.row_count,
            'rowsAffected', run.rows_affected,
            'command', run.command,
            'sqlstate', substring(run.error FROM '"sqlstate":"([0-9A-Z]{5})"'),
            'errorCode', substring(run.error FROM '"code":"([A-Z_]+)"')
        ))::text);
    RETURN NULL;
END
$$
"""


def upgrade() -> None:
    _make_events()
    op.add_column("query_runs", sa.Column("origin", sa.Text()))
    op.execute(_REFUSE_CHANGE)
    op.execute(
        "CREATE TRIGGER audit_events_only_grow BEFORE UPDATE OR DELETE ON audit_events"
        " FOR EACH ROW EXECUTE FUNCTION refuse_audit_change()"
    )
    op.execute(
        "CREATE TRIGGER audit_events_no_truncate BEFORE TRUNCATE ON audit_events"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()"
    )
    op.execute(_AUDIT_RUN)
    op.execute(
        "CREATE TRIGGER query_runs_audit_end AFTER UPDATE ON query_runs FOR EACH ROW"
        " WHEN (OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL)"
        " EXECUTE FUNCTION audit_query_run()"
    )
    op.execute(
        "CREATE TRIGGER query_runs_audit_ended_insert AFTER INSERT ON query_runs FOR EACH ROW"
        " WHEN (NEW.finished_at IS NOT NULL) EXECUTE FUNCTION audit_query_run()"
    )
    op.execute(
        "CREATE TRIGGER query_runs_audit_removal AFTER DELETE ON query_runs FOR EACH ROW"
        " WHEN (OLD.finished_at IS NULL) EXECUTE FUNCTION audit_query_run()"
    )


def downgrade() -> None:
    for name in ("query_runs_audit_end", "query_runs_audit_ended_insert"):
        op.execute(f"DROP TRIGGER {name} ON query_runs")
    op.execute("DROP TRIGGER query_runs_audit_removal ON query_runs")
    op.drop_column("query_runs", "origin")
    op.drop_table("audit_stream")
    op.drop_table("audit_events")
    op.execute("DROP FUNCTION audit_query_run()")
    op.execute("DROP FUNCTION refuse_audit_change()")


def _make_events() -> None:
    op.create_table(
        "audit_events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid()),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.func.clock_timestamp(),
            nullable=False,
        ),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Uuid()),
        sa.Column("actor_email", sa.Text()),
        sa.Column("session_id", sa.Uuid()),
        sa.Column("token_id", sa.Uuid()),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Uuid()),
        sa.Column("subject_name", sa.Text(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column(
            "position",
            sa.BigInteger(),
            server_default=sa.text("pg_current_xact_id()::text::bigint"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name="pk_audit_events"),
    )
    op.create_index("ix_audit_events_owner", "audit_events", ["owner_id", "created_at", "id"])
    op.create_index("ix_audit_events_created", "audit_events", ["created_at", "id"])
    op.create_index("ix_audit_events_kind", "audit_events", ["kind", "created_at", "id"])
    op.create_index("ix_audit_events_position", "audit_events", ["position", "id"])
    op.create_table(
        "audit_stream",
        sa.Column("single", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("last_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("single", name="pk_audit_stream"),
        sa.CheckConstraint("single", name="ck_audit_stream_one_row"),
    )

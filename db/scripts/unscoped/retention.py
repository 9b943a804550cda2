"""Expiry of scripts, by age and by the quota of their owner."""

from sqlalchemy import text

from db.postgres.sessions import Session
from db.postgres.statements import compile_change

_EXPIRE_OVER_QUOTA = compile_change(
    text("""UPDATE script_runs SET expires_at = now()
        FROM (
            SELECT id, sum(octet_length(script)) OVER newer AS texts,
                row_number() OVER newer AS scripts
            FROM script_runs WHERE finished_at IS NOT NULL
            WINDOW newer AS (PARTITION BY owner_id ORDER BY created_at DESC, id DESC)
        ) AS kept
        WHERE kept.id = script_runs.id
          AND (kept.texts > :max_text OR kept.scripts > :max_scripts)
          AND script_runs.expires_at > now()
        RETURNING script_runs.id""")
)
_DELETE_EXPIRED = compile_change(
    text("""DELETE FROM script_runs WHERE id IN (
            SELECT id FROM script_runs WHERE expires_at <= now()
            ORDER BY expires_at LIMIT 1000 FOR UPDATE SKIP LOCKED)
        RETURNING id""")
)


async def expire_scripts_over_quota(session: Session, *, max_text: int, max_scripts: int) -> int:
    """Expires the oldest scripts of owners above a quota; returns their number."""
    values = {"max_text": max_text, "max_scripts": max_scripts}
    return len(await session.rows(_EXPIRE_OVER_QUOTA, **values))


async def delete_expired_scripts(session: Session) -> int:
    """Deletes a batch of expired scripts; returns their number. Their runs stay."""
    return len(await session.rows(_DELETE_EXPIRED))

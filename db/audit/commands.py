"""Records commands of the operator, which also work on databases that cannot be written."""

import logging
from typing import Any

import asyncpg
from sqlalchemy import text

from db.kit.audit import AuditKind, record_alone
from db.postgres.engine import Database
from db.postgres.statements import compile_statement

log = logging.getLogger(__name__)

_IS_MIGRATED = compile_statement(text("SELECT to_regclass('audit_events') IS NOT NULL"))


async def has_audit_log(database: Database) -> bool:
    """False for a database that was not migrated since there is one."""
    async with database.read() as session:
        return bool(await session.value(_IS_MIGRATED))


async def record_if_migrated(database: Database, kind: AuditKind, **event: Any) -> None:
    """Like `record_alone`. A backup is also made before an update, and of a standby server."""
    if not await has_audit_log(database):
        return
    try:
        await record_alone(database, kind, **event)
    except asyncpg.ReadOnlySQLTransactionError:
        log.warning("the database is read-only, so the audit log has no %s event", kind)

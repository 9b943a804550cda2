"""Keeps the bytes of files while a backup copies those that its snapshot names."""

from sqlalchemy import text

from db.postgres.engine import Database
from db.postgres.statements import compile_statement

_NAME = (0x486F7764, 0x4261636B)  # two numbers, as pg_locks shows them

HOLD_FILE_BYTES = f"SELECT pg_advisory_xact_lock_shared({_NAME[0]}, {_NAME[1]})"
"""Before the snapshot, in a transaction that lasts until the bytes are copied."""

_IS_HELD = compile_statement(
    text(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted"  # noqa: S608 - numbers
        f" AND classid = {_NAME[0]} AND objid = {_NAME[1]} AND objsubid = 2 AND database ="
        " (SELECT oid FROM pg_database WHERE datname = current_database()))"
    )
)


async def is_backup_running(database: Database) -> bool:
    """Ask after the change of a row is committed, and before the bytes of the former are deleted.

    A backup that begins later does not see the former row.
    """
    async with database.read() as session:
        return bool(await session.value(_IS_HELD))

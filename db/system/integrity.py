"""Looks for damage in our own database, and names it: checksums, tables, indexes.

What a check found is kept in the database itself, so every process of every replica knows it.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

import asyncpg
import msgspec
from sqlalchemy import CheckConstraint, Text, text, true
from sqlalchemy.orm import Mapped, mapped_column

from db.errors import Conflict, HowdahError, TimedOut
from db.kit.base import Base
from db.postgres.engine import Database, ReadSession
from db.postgres.statements import Reads, Statement, compile_change, compile_statement

log = logging.getLogger(__name__)

DEADLINE_S = 50.0  # an operation has 60
MESSAGES = 3  # of one damaged table; the rest would say the same

_DAMAGE = "XX"  # SQLSTATEs of what should never be: XX001 a page, XX002 an index
_FACTS = compile_statement(
    text("""
    SELECT current_setting('data_checksums') = 'on',
           pg_database_size(current_database()),
           coalesce(checksum_failures, 0)
    FROM pg_stat_database WHERE datname = current_database()
    """)
)
_HAS_AMCHECK = compile_statement(
    text("SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'amcheck')")
)
_ADD_AMCHECK = compile_change(text("CREATE EXTENSION IF NOT EXISTS amcheck"))
_CHECKS_GIN = compile_statement(
    text("SELECT to_regprocedure('gin_index_check(regclass)') IS NOT NULL")
)
# Ours and PostgreSQL's own catalogs, tables before their indexes.
_RELATIONS = compile_statement(
    text("""
    SELECT c.oid, c.oid::regclass::text, am.amname
    FROM pg_class c
    JOIN pg_am am ON am.oid = c.relam
    LEFT JOIN pg_index i ON i.indexrelid = c.oid
    WHERE c.relnamespace IN (current_schema()::regnamespace, 'pg_catalog'::regnamespace)
      AND c.relkind IN ('r', 'i') AND c.relpersistence = 'p'
      AND coalesce(i.indisvalid, true)
    ORDER BY c.relkind DESC, c.oid
    """)
)
_CHECKS = {
    "heap": compile_statement(
        text(
            "SELECT blkno, msg FROM verify_heapam(CAST(:relation AS oid)::regclass,"
            " check_toast => true)"
        )
    ),
    "btree": compile_statement(
        text("SELECT 0, bt_index_check(CAST(:relation AS oid)::regclass, true)::text")
    ),
    "gin": compile_statement(
        text("SELECT 0, gin_index_check(CAST(:relation AS oid)::regclass)::text")
    ),
}
_KEEP = compile_change(
    text("""
    INSERT INTO database_checks (checked_at, found) VALUES (:checked_at, :found)
    ON CONFLICT (single) DO UPDATE SET checked_at = excluded.checked_at, found = excluded.found
    WHERE database_checks.checked_at < excluded.checked_at
    """)
)
_KEPT = compile_statement(text("SELECT found FROM database_checks"))


class DatabaseCheck(Base):
    """The table: one row, the last check. Not in backups: it is about this cluster's files."""

    __tablename__ = "database_checks"

    single: Mapped[bool] = mapped_column(primary_key=True, server_default=true())
    checked_at: Mapped[datetime]
    found: Mapped[str] = mapped_column(Text)

    __table_args__ = (CheckConstraint("single", name="one_row"),)


class Damage(NamedTuple):
    """A relation that is not as it should be."""

    relation: str
    message: str


class Check(NamedTuple):
    """What one check of the whole database found."""

    checked_at: datetime
    damages: tuple[Damage, ...]
    notes: tuple[str, ...]
    """What could not be checked, and why."""


class Integrity(NamedTuple):
    """The state of the database as far as it is known."""

    ok: bool
    checksums: bool
    corrupt_relations: list[str]
    size_bytes: int
    last_checked_at: datetime | None
    findings: list[str]


@dataclass(slots=True)
class Checks:
    """Checks of this process, one at a time, and the last one of any."""

    _last: Check | None = None
    """Ours: a damaged database may be unable to keep it."""
    _running: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self, database: Database) -> None:
        if self._running.locked():
            raise Conflict(
                "A check of the database is running already.",
                hint="Ask for databaseHealth in a moment; it will show what was found.",
            )
        async with self._running:
            self._last = await check(database)
            await _save(database, self._last)

    async def last(self, database: Database) -> Check | None:
        """The latest, whichever process of whichever replica made it."""
        found = [check for check in (self._last, await _load_last(database)) if check]
        return max(found, key=lambda check: check.checked_at, default=None)

    async def state(self, database: Database) -> Integrity:
        async with database.read() as session:
            checksums, size_bytes, failures = await session.row(_FACTS) or (False, 0, 0)
        last = await self.last(database)
        findings = [] if checksums else ["Checksums are off: a damaged page may go unnoticed."]
        if failures:
            findings.append(f"PostgreSQL met {failures} pages whose checksum was wrong.")
        if last is None:
            findings.append("Not checked yet; checkDatabase does it.")
        damages, notes = (last.damages, last.notes) if last else ((), ())
        findings += [f"{damage.relation}: {damage.message}" for damage in damages]
        return Integrity(
            ok=not damages and not failures,
            checksums=checksums,
            corrupt_relations=list(dict.fromkeys(damage.relation for damage in damages)),
            size_bytes=size_bytes,
            last_checked_at=last.checked_at if last else None,
            findings=[*findings, *notes],
        )


async def check(database: Database) -> Check:
    """Reads every page that is in use; what could not be checked is said."""
    damages: list[Damage] = []
    notes = [refusal] if (refusal := await _provide_amcheck(database)) else []
    if not refusal:
        async with database.read() as session:
            await _check_relations(session, damages, notes)
    return Check(datetime.now(UTC), tuple(damages), tuple(notes))


async def _save(database: Database, check: Check) -> None:
    found = msgspec.json.encode(check).decode()
    try:
        await database.write(
            lambda session: session.rows(_KEEP, checked_at=check.checked_at, found=found)
        )
    except (HowdahError, asyncpg.PostgresError) as error:  # full, read-only, or damaged itself
        log.warning("what the check of the database found could not be kept: %s", error)


async def _load_last(database: Database) -> Check | None:
    try:
        async with database.read() as session:
            found = await session.value(_KEPT)
    except asyncpg.PostgresError as error:
        log.warning("the last check of the database could not be read: %s", error)
        return None
    return msgspec.json.decode(found, type=Check) if found else None


async def _provide_amcheck(database: Database) -> str | None:
    """Why it can't be had, if so: PostgreSQL brings it, but not every provider lets us have it."""
    async with database.read() as session:
        if await session.value(_HAS_AMCHECK):
            return None
    try:
        await database.write(lambda session: session.rows(_ADD_AMCHECK))
    except asyncpg.PostgresError as error:
        return f"Tables and indexes were not checked: amcheck cannot be had here ({error})."
    return None


async def _check_relations(session: ReadSession, damages: list[Damage], notes: list[str]) -> None:
    clock = asyncio.get_running_loop().time
    deadline = clock() + DEADLINE_S
    checks = dict(_CHECKS)
    if not await session.value(_CHECKS_GIN):
        del checks["gin"]
    for relation, name, kind in await session.rows(_RELATIONS):
        if kind not in checks:
            notes.append(f"{name} was not checked: this amcheck does not know {kind}.")
        elif clock() > deadline:
            notes.append(f"{name} was not checked: there was no time left.")
        else:
            try:
                damages += await _damages(session, checks[kind], relation, name)
            except asyncpg.InsufficientPrivilegeError as error:
                notes.append(f"Not all was checked: {error}.")
                return
            except (asyncpg.PostgresError, TimedOut) as error:
                notes.append(f"{name} was not checked: {error}")


async def _damages(
    session: ReadSession, statement: Statement[Reads], relation: int, name: str
) -> list[Damage]:
    """A table's check answers what is wrong, an index's fails with it; so does an unreadable page.

    Raises:
        PostgresError: when it could not be checked.
    """
    try:
        found = await session.rows(statement, relation=relation)
    except asyncpg.PostgresError as error:
        if not (error.sqlstate or "").startswith(_DAMAGE):
            raise
        return [Damage(name, str(error))]
    messages = [f"block {block}: {message}" for block, message in found if message]
    return [Damage(name, message) for message in messages[:MESSAGES]]

"""Checks Howdah's own database for damage: checksums, tables and indexes.

The last result is stored in the database, so that every process of every replica reports it.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

import asyncpg
import msgspec
from sqlalchemy import CheckConstraint, Text, text, true

from db.errors import Conflict, HowdahError, TimedOut
from db.kit.base import Base, Mapped, mapped_column
from db.postgres.engine import Database
from db.postgres.sessions import ReadSession
from db.postgres.statements import Reads, Statement, compile_change, compile_statement

log = logging.getLogger(__name__)

DEADLINE_S = 50.0  # the deadline of an operation is 60 s
MAX_MESSAGES = 3  # of one damaged table; further ones are alike

_DAMAGE = "XX"  # SQLSTATE class of internal errors: XX001 damaged page, XX002 damaged index
_STATE = compile_statement(
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
# Our tables and the system catalogs, tables before their indexes.
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
_SAVE = compile_change(
    text("""
    INSERT INTO database_checks (checked_at, found) VALUES (:checked_at, :found)
    ON CONFLICT (single) DO UPDATE SET checked_at = excluded.checked_at, found = excluded.found
    WHERE database_checks.checked_at < excluded.checked_at
    """)
)
_LAST = compile_statement(text("SELECT found FROM database_checks"))


class DatabaseCheck(Base):
    """One row with the last check. Backups omit it: it concerns the files of this cluster."""

    __tablename__ = "database_checks"

    single: Mapped[bool] = mapped_column(primary_key=True, server_default=true())
    checked_at: Mapped[datetime]
    found: Mapped[str] = mapped_column(Text)

    __table_args__ = (CheckConstraint("single", name="one_row"),)


class Damage(NamedTuple):
    relation: str
    message: str


class Check(NamedTuple):
    """The result of one check of the whole database."""

    checked_at: datetime
    damages: tuple[Damage, ...]
    notes: tuple[str, ...]
    """Checks that could not be made, with the reason."""


class Integrity(NamedTuple):
    ok: bool
    checksums: bool
    corrupt_relations: list[str]
    size_bytes: int
    last_checked_at: datetime | None
    findings: list[str]


@dataclass(slots=True)
class Checks:
    """Runs checks one at a time, and finds the last one of any process."""

    _last: Check | None = None
    """The last check of this process: a damaged database may be unable to store it."""
    _running: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self, database: Database) -> None:
        if self._running.locked():
            raise Conflict(
                "A check of the database is already running.",
                hint="Query `databaseHealth` later to read its result.",
            )
        async with self._running:
            self._last = await check(database)
            await _save(database, self._last)

    async def last(self, database: Database) -> Check | None:
        """The last check of any process of any replica."""
        found = [check for check in (self._last, await _load_last(database)) if check]
        return max(found, key=lambda check: check.checked_at, default=None)

    async def state(self, database: Database) -> Integrity:
        async with database.read() as session:
            checksums, size_bytes, failures = await session.row(_STATE) or (False, 0, 0)
        last = await self.last(database)
        findings = [] if checksums else ["Data checksums are disabled."]
        if failures:
            findings.append(f"PostgreSQL found {failures} pages with a wrong checksum.")
        if last is None:
            findings.append("Not checked yet. Run `checkDatabase`.")
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
    """Check every table and index by reading all their pages."""
    damages: list[Damage] = []
    notes = [problem] if (problem := await _install_amcheck(database)) else []
    if not problem:
        async with database.read() as session:
            await _check_relations(session, damages, notes)
    return Check(datetime.now(UTC), tuple(damages), tuple(notes))


async def _save(database: Database, check: Check) -> None:
    found = msgspec.json.encode(check).decode()
    try:
        await database.write(
            lambda session: session.rows(_SAVE, checked_at=check.checked_at, found=found)
        )
    except (
        HowdahError,
        asyncpg.PostgresError,
    ) as error:  # it is full, read-only or damaged
        log.warning("the result of the database check could not be saved: %s", error)


async def _load_last(database: Database) -> Check | None:
    try:
        async with database.read() as session:
            found = await session.value(_LAST)
    except asyncpg.PostgresError as error:
        log.warning("the result of the last database check could not be read: %s", error)
        return None
    return msgspec.json.decode(found, type=Check) if found else None


async def _install_amcheck(database: Database) -> str | None:
    """Install amcheck. Returns the problem if the provider does not allow the extension."""
    async with database.read() as session:
        if await session.value(_HAS_AMCHECK):
            return None
    try:
        await database.write(lambda session: session.rows(_ADD_AMCHECK))
    except asyncpg.PostgresError as error:
        return f"Tables and indexes were not checked: amcheck is not available ({error})."
    return None


async def _check_relations(session: ReadSession, damages: list[Damage], notes: list[str]) -> None:
    clock = asyncio.get_running_loop().time
    deadline = clock() + DEADLINE_S
    checks = dict(_CHECKS)
    if not await session.value(_CHECKS_GIN):
        del checks["gin"]
    for relation, name, kind in await session.rows(_RELATIONS):
        if kind not in checks:
            notes.append(f"{name} was not checked: amcheck does not support {kind}.")
        elif clock() > deadline:
            notes.append(f"{name} was not checked: the time limit was reached.")
        else:
            try:
                damages += await _damages(session, checks[kind], relation, name)
            except asyncpg.InsufficientPrivilegeError as error:
                notes.append(f"Not all relations were checked: {error}.")
                return
            except (asyncpg.PostgresError, TimedOut) as error:
                notes.append(f"{name} was not checked: {error}")


async def _damages(
    session: ReadSession, statement: Statement[Reads], relation: int, name: str
) -> list[Damage]:
    """The check of a table returns its damage; that of an index, or of an unreadable page, fails.

    Raises:
        PostgresError: the relation could not be checked.
    """
    try:
        found = await session.rows(statement, relation=relation)
    except asyncpg.PostgresError as error:
        if not (error.sqlstate or "").startswith(_DAMAGE):
            raise
        return [Damage(name, str(error))]
    messages = [f"block {block}: {message}" for block, message in found if message]
    return [Damage(name, message) for message in messages[:MAX_MESSAGES]]

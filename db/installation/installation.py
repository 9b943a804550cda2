"""The installation that the database belongs to, and the recognition of copies.

A copy has another system identifier (a restored dump on another server), or another OID or name (on
the same server). A standby that was promoted has the same three: it is no copy. So does a disk
snapshot that is served beside its original, which `howdah installation renew` is for.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Text, delete, text, true

from db.installation.copied_work import end_copied_work
from db.kit.audit import AuditKind, record
from db.kit.base import Base, Mapped, mapped_column, new_id
from db.kit.live_processes import ReplicaProcess, UnendedBackend
from db.postgres.engine import Database
from db.postgres.own_cluster import OwnCluster
from db.postgres.sessions import ReadSession, Session
from db.postgres.statements import Changes, Statement, compile_change, compile_statement

log = logging.getLogger(__name__)

_EXISTS = compile_statement(text("SELECT to_regclass('installation') IS NOT NULL"))
_HERE = compile_statement(
    text("""SELECT oid::bigint, datname::text FROM pg_catalog.pg_database
        WHERE datname = current_database()""")
)
_READ = compile_statement(
    text("""SELECT id, made_at, copied_from, system_identifier, database_oid, database_name
        FROM installation""")
)
_IS_OWN = compile_statement(text("SELECT EXISTS (SELECT FROM installation WHERE id = :id)"))
_INSERT = compile_change(
    text("""INSERT INTO installation
            (id, made_at, system_identifier, database_oid, database_name)
        VALUES (:id, clock_timestamp(), :system_identifier, :database_oid, :database_name)
        ON CONFLICT (single) DO NOTHING
        RETURNING id""")
)
_RENEW = compile_change(
    text("""UPDATE installation
        SET id = :id, made_at = clock_timestamp(), copied_from = id,
            system_identifier = :system_identifier, database_oid = :database_oid,
            database_name = :database_name
        WHERE id = :known
        RETURNING id""")
)
_LEARN_SYSTEM = compile_change(
    text("""UPDATE installation SET system_identifier = :system_identifier
        WHERE id = :known AND system_identifier IS NULL
        RETURNING id""")
)
_FORGET_PROCESSES = compile_change(delete(ReplicaProcess).returning(ReplicaProcess.process))
_FORGET_BACKENDS = compile_change(delete(UnendedBackend).returning(UnendedBackend.id))


class InstallationRecord(Base):
    """One row. Backups omit it: a restored database is another installation."""

    __tablename__ = "installation"

    single: Mapped[bool] = mapped_column(primary_key=True, server_default=true())
    id: Mapped[UUID]
    made_at: Mapped[datetime]
    copied_from: Mapped[UUID | None]
    system_identifier: Mapped[str | None] = mapped_column(Text)
    """Null if the provider does not let roles read it."""
    database_oid: Mapped[int] = mapped_column(BigInteger)
    database_name: Mapped[str] = mapped_column(Text)

    __table_args__ = (CheckConstraint("single", name="one_row"),)


class DatabaseIdentity(NamedTuple):
    """What distinguishes a database from its copies."""

    system_identifier: str | None
    database_oid: int
    database_name: str

    def is_same(self, other: "DatabaseIdentity") -> bool:
        """An unknown system identifier is no difference: a role may lose the right to read it."""
        systems = {self.system_identifier, other.system_identifier} - {None}
        return len(systems) < 2 and self[1:] == other[1:]


@dataclass(frozen=True, slots=True)
class Installation:
    id: UUID
    made_at: datetime
    copied_from: UUID | None
    database: DatabaseIdentity


async def recognize(database: Database, *, keep: timedelta) -> Installation:
    """Returns the installation of the database. A copy becomes a new one, with nothing running.

    Call it before anything acts on active runs. Several processes may call it concurrently: the
    row of the table admits one of them.
    """
    here = await _identity_of(database)
    while (found := await _read(database)) is None or not found.database.is_same(here):
        await database.transaction(lambda session: _make(session, found, here, keep))
    if found.database.system_identifier is None and here.system_identifier is not None:
        known = {"known": found.id, "system_identifier": here.system_identifier}
        await database.write(lambda session: session.rows(_LEARN_SYSTEM, **known))
    return found


async def renew(database: Database, *, keep: timedelta) -> Installation:
    """Makes a new installation of the database, whether or not it looks like a copy.

    The act is recorded in the audit log, in the same transaction.
    """
    here = await _identity_of(database)
    known = await _read(database)

    async def make(session: Session) -> None:
        made = await _make(session, known, here, keep)
        if made is not None:
            details = {"installation": made, "copiedFrom": None if known is None else known.id}
            await record(session, AuditKind.INSTALLATION_RENEWED, details=details)

    await database.transaction(make)
    return await recognize(database, keep=keep)


async def read_installation(database: Database) -> Installation | None:
    """The recorded installation, also if this is a copy of it. None before the first start."""
    async with database.read() as session:
        if not await session.value(_EXISTS):
            return None
    return await _read(database)


async def is_at_home(database: Database, recorded: Installation) -> bool:
    """False if the database is a copy that no server has recognized yet."""
    return recorded.database.is_same(await _identity_of(database))


async def is_own(session: ReadSession, installation_id: UUID) -> bool:
    """False if the rows of the database were replaced by those of another installation."""
    return bool(await session.value(_IS_OWN, id=installation_id))


async def _make(
    session: Session, known: Installation | None, here: DatabaseIdentity, keep: timedelta
) -> UUID | None:
    """Returns the ID of the new installation. Does nothing if another process was faster."""
    made = new_id()
    values = {"id": made, **here._asdict()}
    if known is None:
        return made if await session.rows(_INSERT, **values) else None
    if not await session.rows(_RENEW, known=known.id, **values):
        return None

    async def execute(
        _: str, statement: Statement[Changes], values: dict[str, Any]
    ) -> Sequence[Any]:
        return await session.rows(statement, **values)

    await session.rows(_FORGET_PROCESSES)  # of the original, or of this database before
    await session.rows(_FORGET_BACKENDS)  # those of the original are not for a copy to terminate
    ended = await end_copied_work(execute, keep=keep)
    log.warning(
        "this database is a copy of installation %s: it becomes installation %s; ended in the "
        "copy, and not on any target: %s. Give it an object store and an event bus of its own",
        known.id,
        made,
        ", ".join(f"{count} {table}" for table, count in ended.items()),
    )
    return made


async def _identity_of(database: Database) -> DatabaseIdentity:
    cluster = await OwnCluster(database).identity()
    async with database.read() as session:
        oid, name = await session.row(_HERE) or (0, "")
    return DatabaseIdentity(cluster.system, oid, name)


async def _read(database: Database) -> Installation | None:
    async with database.read() as session:
        found = await session.row(_READ)
    if found is None:
        return None
    identity, made_at, copied_from, *names = found
    return Installation(identity, made_at, copied_from, DatabaseIdentity(*names))

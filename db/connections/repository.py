"""Saved connections: the table, its rows, and the repository of one owner."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Computed,
    ForeignKey,
    Index,
    Text,
    UniqueConstraint,
    bindparam,
    func,
    or_,
)
from sqlalchemy.sql import ClauseElement

from db.connections.binding import DATABASE, TABLE, check_binding
from db.connections.drafts import SECRETS, Draft, check_connection, with_defaults
from db.errors import Conflict
from db.kit.base import (
    Base,
    HasId,
    HasOwner,
    HasTimes,
    HasVersion,
    Mapped,
    TimestampText,
    mapped_column,
)
from db.kit.lists.paging import Page, PageShape, SortOrder, Window
from db.kit.locks import RunQueueLock, run_queue_lock
from db.kit.repository import Repository, S
from db.postgres.sessions import Session
from db.postgres.statements import change_statement, statement

BY_NAME = SortOrder("sort_name", descending=False)


class DatabaseConnection(HasId, HasOwner, HasTimes, HasVersion, Base):
    """Secrets are stored in the `sealed_` columns, encrypted by `db.security.vault`."""

    __tablename__ = TABLE

    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(Text)
    host: Mapped[str] = mapped_column(Text)
    port: Mapped[int]
    database: Mapped[str] = mapped_column(Text)
    username: Mapped[str] = mapped_column(Text)
    ssl_mode: Mapped[str] = mapped_column(Text)
    ssl_root_certificate: Mapped[str | None] = mapped_column(Text)
    ssh_host: Mapped[str | None] = mapped_column(Text)
    ssh_port: Mapped[int | None]
    ssh_username: Mapped[str | None] = mapped_column(Text)
    ssh_auth_method: Mapped[str | None] = mapped_column(Text)
    ssh_host_key_fingerprint: Mapped[str | None] = mapped_column(Text)
    read_only: Mapped[bool]
    statement_timeout_ms: Mapped[int | None]
    sealed_password: Mapped[bytes | None]
    sealed_ssh_password: Mapped[bytes | None]
    sealed_ssh_private_key: Mapped[bytes | None]
    last_connected_at: Mapped[TimestampText | None]
    secrets_version: Mapped[int] = mapped_column(server_default="0")
    disconnect_count: Mapped[int] = mapped_column(server_default="0")
    sort_name: Mapped[str] = mapped_column(Text, Computed("lower(name)", persisted=True))

    __table_args__ = (
        CheckConstraint("(ssh_host IS NULL) = (ssh_auth_method IS NULL)", name="tunnel"),
        UniqueConstraint("id", "owner_id"),
        Index("ix_database_connections_name", "owner_id", "sort_name", "id"),
    )


class ConnectionRow(NamedTuple):
    """A saved connection without its secrets."""

    id: UUID
    name: str
    host: str
    port: int
    database: str
    username: str
    ssl_mode: str
    ssl_root_certificate: str | None
    ssh_host: str | None
    ssh_port: int | None
    ssh_username: str | None
    ssh_auth_method: str | None
    ssh_host_key_fingerprint: str | None
    read_only: bool
    statement_timeout_ms: int | None
    has_stored_password: bool
    created_at: TimestampText
    updated_at: TimestampText
    last_connected_at: TimestampText | None
    version: int
    secrets_version: int = 0
    """Increases when secrets are typed, and when they are deleted with a suspension."""
    disconnect_count: int = 0
    has_stored_ssh_secret: bool = False

    @property
    def generation(self) -> tuple[int, int, int]:
        """What a pool depends on: it is outdated when this changes."""
        return self.version, self.secrets_version, self.disconnect_count


class SealedRow(NamedTuple):
    """The sealed secrets of a saved connection."""

    sealed_password: bytes | None = None
    sealed_ssh_password: bytes | None = None
    sealed_ssh_private_key: bytes | None = None

    @property
    def stored_secrets(self) -> set[str]:
        """The names of the secrets that are stored."""
        return {name for name, sealed in zip(SECRETS, self, strict=True) if sealed is not None}


class ConnectionUpdate(NamedTuple):
    """The result of an update: `replaced` holds the seals that are no longer in use."""

    before: ConnectionRow
    replaced: SealedRow
    row: ConnectionRow


class Connections(Repository[ConnectionRow, S]):
    """The saved connections of one owner."""

    model = DatabaseConnection
    row = ConnectionRow
    noun = "connection"

    @classmethod
    def columns(cls) -> list[Any]:
        table = cls.table()
        stored = {
            "has_stored_password": table.c.sealed_password.is_not(None),
            "has_stored_ssh_secret": or_(
                table.c.sealed_ssh_password.is_not(None),
                table.c.sealed_ssh_private_key.is_not(None),
            ),
        }
        return [
            stored[name].label(name) if name in stored else table.c[name]
            for name in cls.row._fields
        ]

    async def create(
        self: "Connections[Session]",
        row_id: UUID,
        draft: Draft,
        sealed: dict[str, bytes | None],
        *,
        agent: bool,
    ) -> ConnectionRow:
        values = with_defaults(draft.values)
        check_connection(values, secrets=SealedRow(**sealed).stored_secrets, agent=agent)
        return await self.add(id=row_id, **values, **sealed)

    async def require_and_lock_run_queue(
        self: "Connections[Session]", connection_id: UUID, *, field: str
    ) -> tuple[ConnectionRow, RunQueueLock]:
        """Like `require`, and locks the owner's run queue: one statement for both."""
        found = self._find_and_lock_run_queue()
        row = await self.one_or_raise(connection_id, found, field=field, id=connection_id)
        return row, RunQueueLock(self.session, self.owner)

    async def change(
        self: "Connections[Session]",
        seen: ConnectionRow,
        draft: Draft,
        sealed: dict[str, bytes | None],
        *,
        agent: bool,
        expected_version: int | None = None,
    ) -> ConnectionUpdate:
        """Applies the draft in a transaction. The row is locked and validated as a whole.

        `seen` is the connection as it was read to seal the secrets of the draft.

        Raises:
            SecretRequired: a stored secret would be used for another destination.
            Conflict: the destination was changed after `seen` was read, so the secrets of the draft
                are sealed for an outdated destination.
        """
        before, stored = await self.with_secrets(seen.id, lock=True)
        then, after = seen._asdict() | draft.values, before._asdict() | draft.values
        if any(sealed.values()) and not _same_destination(then, after):
            raise _destination_conflict()
        check_binding(before._asdict(), after, stored=stored.stored_secrets, entered=draft.secrets)
        check_connection(after, secrets=stored._replace(**sealed).stored_secrets, agent=agent)
        row = await self.update(
            seen.id, expected_version=expected_version, **draft.values, **sealed
        )
        replaced = {name: value for name, value in stored._asdict().items() if name in sealed}
        return ConnectionUpdate(before, SealedRow(**replaced), row)

    async def with_secrets(
        self, row_id: UUID, *, lock: bool = False
    ) -> tuple[ConnectionRow, SealedRow]:
        """The connection and its seals, in one statement; `lock` locks the row.

        Raises:
            NotFound: it does not exist.
            Forbidden: it belongs to another user.
        """
        found = await self.run(self._with_secrets(lock), id=row_id)
        if not found:
            raise await self.missing_row_error(row_id, field="id")
        columns = len(ConnectionRow._fields)
        return self._make(found[0][:columns]), SealedRow(*found[0][columns:])

    async def record_connected(self: "Connections[Session]", row_id: UUID) -> None:
        """Leaves `version` and `updated_at` unchanged, because the user changed nothing."""
        await self.run(self._note_connected(), id=row_id)

    async def record_typed(self: "Connections[Session]", row_id: UUID) -> ConnectionRow:
        """Makes the pools of all replicas open the secrets again, at their next use."""
        return await self.one_or_raise(row_id, self._increase("secrets_version"), id=row_id)

    async def record_disconnected(self: "Connections[Session]", row_id: UUID) -> ConnectionRow:
        """Makes all replicas close their pools."""
        return await self.one_or_raise(row_id, self._increase("disconnect_count"), id=row_id)

    async def page(self, window: Window) -> Page[ConnectionRow]:
        return await self.fetch_page(self._page(window.shape), window, BY_NAME)

    async def count(self) -> int:
        return int(await self.value(self._count()))

    @statement
    def _find_and_lock_run_queue(cls) -> ClauseElement:
        found = cls.owned().where(cls.table().c.id == bindparam("id"))
        return found.where(run_queue_lock().is_not(None))  # it is always true

    @statement
    def _with_secrets(cls, lock: bool) -> ClauseElement:  # noqa: FBT001 - a shape, passed by position
        table = cls.table()
        sealed = (table.c[name] for name in SealedRow._fields)
        query = cls.owned(*cls.columns(), *sealed).where(table.c.id == bindparam("id"))
        return query.with_for_update() if lock else query

    @change_statement
    def _note_connected(cls) -> ClauseElement:
        mine = cls.owned_update().where(cls.table().c.id == bindparam("id"))
        return mine.values(last_connected_at=func.now()).returning(cls.table().c.id)

    @change_statement
    def _increase(cls, counter: Literal["secrets_version", "disconnect_count"]) -> ClauseElement:
        table = cls.table()
        mine = cls.owned_update().where(table.c.id == bindparam("id"))
        return mine.values({counter: table.c[counter] + 1}).returning(*cls.columns())

    @statement
    def _page(cls, shape: PageShape) -> ClauseElement:
        return cls.select_page(cls.owned(), BY_NAME, shape)

    @statement
    def _count(cls) -> ClauseElement:
        return cls.owned(func.count())


def _same_destination(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one[column] == other[column] for column in DATABASE)


def _destination_conflict() -> Conflict:
    return Conflict(
        "The destination of this connection was changed at the same time.",
        hint="Read it again, then retry with its current `version`.",
        field="expectedVersion",
    )

"""Saved connections: the table, its rows, and the repository of one owner."""

from typing import Any, NamedTuple
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
    select,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql import ClauseElement

from db.connections.drafts import SECRETS, Draft, check_whole, completed
from db.kit.base import Base, HasId, HasOwner, HasTimes, HasVersion, OwnerId, TimestampText
from db.kit.paging import Page, SortOrder, Window
from db.kit.repository import Repository
from db.postgres.engine import Session
from db.postgres.statements import statement

BY_NAME = SortOrder("sort_name", descending=False)


class DatabaseConnection(HasId, HasOwner, HasTimes, HasVersion, Base):
    """The table. What is secret stands in columns of its own, sealed by `db.security.vault`."""

    __tablename__ = "database_connections"

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
    sealed_ssh_passphrase: Mapped[bytes | None]
    last_connected_at: Mapped[TimestampText | None]
    sort_name: Mapped[str] = mapped_column(Text, Computed("lower(name)", persisted=True))

    __table_args__ = (
        CheckConstraint("(ssh_host IS NULL) = (ssh_auth_method IS NULL)", name="tunnel"),
        UniqueConstraint("id", "owner_id"),
        Index("ix_database_connections_name", "owner_id", "sort_name", "id"),
    )


class ConnectionRow(NamedTuple):
    """A saved connection as it was when it was read; no secret is in it."""

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


class SealedRow(NamedTuple):
    """The secrets of a saved connection, as they stand in its row."""

    sealed_password: bytes | None = None
    sealed_ssh_password: bytes | None = None
    sealed_ssh_private_key: bytes | None = None
    sealed_ssh_passphrase: bytes | None = None

    @property
    def kept(self) -> set[str]:
        """The names of those there are."""
        return {name for name, sealed in zip(SECRETS, self, strict=True) if sealed is not None}


class Connections(Repository[ConnectionRow]):
    """The saved connections of one owner."""

    model = DatabaseConnection
    row = ConnectionRow
    noun = "connection"

    @classmethod
    def columns(cls) -> list[Any]:
        table = cls.table()
        has_password = table.c.sealed_password.is_not(None).label("has_stored_password")
        return [
            has_password if name == "has_stored_password" else table.c[name]
            for name in cls.row._fields
        ]

    async def create(
        self, row_id: UUID, draft: Draft, sealed: dict[str, bytes | None], *, agent: bool
    ) -> ConnectionRow:
        values = completed(draft.values)
        check_whole(values, kept=SealedRow(**sealed).kept, agent=agent)
        return await self.add(id=row_id, **values, **sealed)

    async def change(
        self,
        row_id: UUID,
        draft: Draft,
        sealed: dict[str, bytes | None],
        *,
        agent: bool,
        expected_version: int | None = None,
    ) -> ConnectionRow:
        """Sets what the draft names; the whole is checked as it will stand."""
        now = await self.require(row_id)
        before = await self.sealed(row_id)
        kept = before._replace(**sealed).kept
        check_whole(now._asdict() | draft.values, kept=kept, agent=agent)
        return await self.update(
            row_id, expected_version=expected_version, **draft.values, **sealed
        )

    async def sealed(self, row_id: UUID) -> SealedRow:
        """None of them, where there is no such connection."""
        found = await self.run(self._sealed(), id=row_id)
        return SealedRow(*found[0]) if found else SealedRow()

    async def note_connected(self, row_id: UUID) -> None:
        """It is no change of the connection: its version stays."""
        await self.run(self._note_connected(), id=row_id)

    async def page(self, window: Window) -> Page[ConnectionRow]:
        return await self.fetch_page(self._page(window.shape), window, BY_NAME)

    async def count(self) -> int:
        return int(await self.value(self._count()))

    @statement
    def _sealed(cls) -> ClauseElement:
        table = cls.table()
        columns = (table.c[name] for name in SealedRow._fields)
        return cls.owned(*columns).where(table.c.id == bindparam("id"))

    @statement
    def _note_connected(cls) -> ClauseElement:
        mine = cls.owned_update().where(cls.table().c.id == bindparam("id"))
        return mine.values(last_connected_at=func.now())

    @statement
    def _page(cls, shape: tuple[bool, bool, bool]) -> ClauseElement:
        return cls.select_page(cls.owned(), BY_NAME, shape)

    @statement
    def _count(cls) -> ClauseElement:
        return cls.owned(func.count())


class Sealed:
    """Everybody's secrets, sealed as they are: for `howdah keys rotate` alone."""

    @statement
    def _batch(cls) -> ClauseElement:
        table = Connections.table()
        columns = (table.c[name] for name in ("id", "owner_id", *SealedRow._fields))
        after = select(*columns).where(table.c.id > bindparam("after"))
        return after.order_by(table.c.id).limit(100)

    @statement
    def _exchange(cls, column: str) -> ClauseElement:
        """Only what is still the old: a user may have saved a new one meanwhile."""
        table = Connections.table()
        same = (table.c.id == bindparam("id"), table.c[column] == bindparam("old"))
        return update(table).where(*same).values({column: bindparam("new")}).returning(table.c.id)

    @classmethod
    async def batch(cls, session: Session, after: UUID) -> list[tuple[UUID, OwnerId, SealedRow]]:
        found = await session.rows(cls._batch(), after=after)
        return [(row[0], row[1], SealedRow(*row[2:])) for row in found]

    @classmethod
    async def exchange(
        cls, session: Session, row_id: UUID, column: str, *, old: bytes, new: bytes
    ) -> bool:
        found = await session.rows(cls._exchange(column), id=row_id, old=old, new=new)
        return bool(found)

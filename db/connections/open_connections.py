"""Connections that are open at any replica, with the secrets that were typed to open them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ForeignKeyConstraint,
    Index,
    Interval,
    Text,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql import ClauseElement

from db.connections.binding import DESTINATION, OPEN_TABLE
from db.connections.drafts import TYPED_SECRETS
from db.connections.repository import ConnectionRow, Connections
from db.kit.base import Base, HasOwner, Mapped, mapped_column
from db.kit.repository import Repository, S, is_any_of
from db.postgres.sessions import Session
from db.postgres.statements import change_statement, statement

OPEN_FOR = timedelta(hours=12)
"""How long typed secrets are kept, and a connection counts as open, at most."""


_UNCHANGED = (*DESTINATION, "disconnect_count")


class OpenConnection(HasOwner, Base):
    """A saved connection that was opened and not closed since, whichever replica opened it.

    The table is not part of a backup: a copy of the database has nothing open.
    """

    __tablename__ = OPEN_TABLE

    connection_id: Mapped[UUID] = mapped_column(primary_key=True)
    opened_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    server_version: Mapped[str] = mapped_column(Text)
    tls: Mapped[str | None] = mapped_column(Text)
    sealed_password: Mapped[bytes | None]
    sealed_ssh_password: Mapped[bytes | None]

    __table_args__ = (
        ForeignKeyConstraint(
            ["connection_id", "owner_id"],
            ["database_connections.id", "database_connections.owner_id"],
            ondelete="CASCADE",
        ),
        Index("ix_open_connections_opened", "owner_id", "opened_at"),
        Index("ix_open_connections_expires_at", "expires_at"),
    )


class OpenRow(NamedTuple):
    """An open connection without its secrets."""

    connection_id: UUID
    server_version: str
    tls: str | None
    opened_at: datetime


class TypedSeals(NamedTuple):
    """The sealed secrets that were typed for a connection."""

    by_name: Mapping[str, bytes]
    left_s: float
    """Seconds until they expire."""


class OpenConnections(Repository[OpenRow, S]):
    """The open connections of one owner. Expired ones do not exist for any method."""

    model = OpenConnection
    row = OpenRow
    noun = "open connection"

    async def list_all(self) -> Sequence[OpenRow]:
        """The open connections, in the order in which they were opened."""
        return await self.all(self._list_all())

    async def of_connections(self, connection_ids: Iterable[UUID]) -> Sequence[OpenRow]:
        return await self.all(self._of_connections(), ids=list(connection_ids))

    async def typed_seals(self, connection_id: UUID) -> TypedSeals | None:
        found = await self.run(self._typed_seals(), connection_id=connection_id)
        if not found:
            return None
        left, *seals = found[0]
        by_name = {
            name: seal for name, seal in zip(TYPED_SECRETS, seals, strict=True) if seal is not None
        }
        return TypedSeals(by_name, left.total_seconds()) if by_name else None

    async def record(
        self: "OpenConnections[Session]",
        connected: ConnectionRow,
        *,
        server_version: str,
        tls: str | None,
    ) -> None:
        """Records that a pool has connected to the destination of this row.

        Nothing is recorded if `disconnect` was called or the destination was changed since.
        Extends the time for which the connection counts as open, but not that of typed secrets.
        """
        await self.run(
            self._record(),
            connection_id=connected.id,
            server_version=server_version,
            tls=tls,
            open_for=OPEN_FOR,
            **{name: getattr(connected, name) for name in _UNCHANGED},
        )

    async def store_typed(
        self: "OpenConnections[Session]",
        connection_id: UUID,
        sealed: Mapping[str, bytes],
        *,
        server_version: str,
        tls: str | None,
    ) -> None:
        """Stores seals by the name of the secret; call it with the row of the connection locked.

        Secrets that are not replaced stay, and with them the earlier end of all.
        """
        kept = await self.typed_seals(connection_id)
        renews = kept is None or sealed.keys() >= kept.by_name.keys()
        await self.run(
            self._store_typed(tuple(sorted(sealed)), renews),
            connection_id=connection_id,
            server_version=server_version,
            tls=tls,
            open_for=OPEN_FOR,
            **{f"sealed_{name}": seal for name, seal in sealed.items()},
        )

    async def forget_typed(
        self: "OpenConnections[Session]", connection_id: UUID, names: Collection[str]
    ) -> None:
        await self.run(self._forget_typed(tuple(sorted(names))), connection_id=connection_id)

    async def close(self: "OpenConnections[Session]", connection_id: UUID) -> None:
        """Also deletes the typed secrets."""
        await self.run(self._close(), connection_id=connection_id)

    @classmethod
    def _live(cls) -> Any:
        return cls.table().c.expires_at > func.now()

    @classmethod
    def _same(cls) -> Any:
        return cls.table().c.connection_id == bindparam("connection_id")

    @statement
    def _list_all(cls) -> ClauseElement:
        table = cls.table()
        order = (table.c.opened_at, table.c.connection_id)
        return cls.owned().where(cls._live()).order_by(*order)

    @statement
    def _of_connections(cls) -> ClauseElement:
        return cls.owned().where(is_any_of(cls.table().c.connection_id), cls._live())

    @statement
    def _typed_seals(cls) -> ClauseElement:
        table = cls.table()
        seals = (table.c[f"sealed_{name}"] for name in TYPED_SECRETS)
        left = (table.c.expires_at - func.now()).label("left")
        return cls.owned(left, *seals).where(cls._same(), cls._live())

    @change_statement
    def _record(cls) -> ClauseElement:
        table, saved = cls.table(), Connections.table()
        values = {
            "connection_id": saved.c.id,
            "owner_id": saved.c.owner_id,
            "expires_at": func.now() + bindparam("open_for", type_=Interval()),
            "server_version": bindparam("server_version", type_=Text()),
            "tls": bindparam("tls", type_=Text()),
        }
        unchanged = (
            saved.c[name].is_not_distinct_from(bindparam(name, type_=saved.c[name].type))
            for name in _UNCHANGED
        )
        opened = (
            select(*values.values())
            .where(Connections.is_owned(), saved.c.id == bindparam("connection_id"), *unchanged)
            .with_for_update(read=True)  # waits for a change in progress, then sees it
        )
        new = insert(table).from_select(list(values), opened, include_defaults=False)
        has_typed = or_(*(table.c[f"sealed_{name}"].is_not(None) for name in TYPED_SECRETS))
        expires_at = case(
            (and_(cls._live(), has_typed), table.c.expires_at), else_=new.excluded.expires_at
        )
        kept = cls._kept(new) | {"expires_at": expires_at}
        return new.on_conflict_do_update(
            index_elements=[table.c.connection_id], set_=kept, where=cls.is_owned()
        ).returning(table.c.connection_id)

    @change_statement
    def _store_typed(cls, names: tuple[str, ...], renews: bool) -> ClauseElement:  # noqa: FBT001 - a shape, passed by position
        table = cls.table()
        sealed = [f"sealed_{name}" for name in names]
        given = ("connection_id", "owner_id", "server_version", "tls", *sealed)
        values: dict[str, Any] = {name: bindparam(name, type_=table.c[name].type) for name in given}
        values["expires_at"] = func.now() + bindparam("open_for", type_=Interval())
        new = insert(table).values(values)
        kept = cls._kept(new) | {name: new.excluded[name] for name in sealed}
        expires_at: Any = new.excluded.expires_at
        if not renews:
            expires_at = case((cls._live(), table.c.expires_at), else_=expires_at)
        return new.on_conflict_do_update(
            index_elements=[table.c.connection_id],
            set_=kept | {"expires_at": expires_at},
            where=cls.is_owned(),
        ).returning(table.c.connection_id)

    @classmethod
    def _kept(cls, new: Any) -> dict[str, Any]:
        """What an update of the row assigns: nothing of an expired one is kept."""
        table, excluded = cls.table(), new.excluded
        kept = {
            f"sealed_{name}": case((cls._live(), table.c[f"sealed_{name}"]), else_=None)
            for name in TYPED_SECRETS
        }
        opened_at = case((cls._live(), table.c.opened_at), else_=func.now())
        facts = {"server_version": excluded.server_version, "tls": excluded.tls}
        return {**kept, **facts, "opened_at": opened_at}

    @change_statement
    def _forget_typed(cls, names: tuple[str, ...]) -> ClauseElement:
        cleared = {f"sealed_{name}": None for name in names}
        change = cls.owned_update().where(cls._same()).values(cleared)
        return change.returning(cls.table().c.connection_id)

    @change_statement
    def _close(cls) -> ClauseElement:
        return cls.owned_delete().where(cls._same()).returning(cls.table().c.connection_id)

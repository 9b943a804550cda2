"""Saved and open connections of all owners: rotation of their keys, closed ones, expired ones."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import Table, bindparam, delete, func, literal_column, select, update
from sqlalchemy.sql import ClauseElement

from db.connections.binding import DATABASE, secret_locations, typed_locations
from db.connections.drafts import SECRETS, TYPED_SECRETS
from db.connections.open_connections import OpenConnections
from db.connections.repository import Connections
from db.kit.base import OwnerId
from db.kit.repository import is_any_of
from db.kit.unscoped import delete_batch
from db.postgres.sessions import ReadSession, Session
from db.postgres.statements import (
    compile_change,
    compile_statement,
    unscoped_change,
    unscoped_statement,
)
from db.security.vault import SecretLocation


class Sealed(ABC):
    """The sealed secrets of all owners in one table; used only by `howdah keys rotate`."""

    names: ClassVar[tuple[str, ...]]

    @classmethod
    @abstractmethod
    def key(cls) -> Any:
        """The column with the ID of the connection."""

    @classmethod
    @abstractmethod
    def locations(
        cls, values: Mapping[str, Any], *, row: UUID, owner: OwnerId
    ) -> dict[str, SecretLocation]: ...

    @classmethod
    def table(cls) -> Table:
        table: Table = cls.key().table
        return table

    @unscoped_statement
    def _batch(cls) -> ClauseElement:
        saved, table = Connections.table(), cls.table()
        destination = (saved.c[name] for name in ("id", "owner_id", *DATABASE))
        seals = (table.c[f"sealed_{name}"] for name in cls.names)
        query = select(*destination, *seals).where(saved.c.id > bindparam("after"))
        if table is not saved:
            query = query.where(cls.key() == saved.c.id)
        return query.order_by(saved.c.id).limit(100)

    @unscoped_change
    def _exchange(cls, column: str) -> ClauseElement:
        """Replaces the seal only if it is unchanged: its owner may have entered a new secret."""
        table = cls.table()
        same = (cls.key() == bindparam("connection_id"), table.c[column] == bindparam("old"))
        return update(table).where(*same).values({column: bindparam("new")}).returning(cls.key())

    @classmethod
    async def batch(
        cls, session: ReadSession, after: UUID
    ) -> list[tuple[UUID, dict[SecretLocation, bytes]]]:
        """Up to 100 connections after the ID `after`, each with its seals."""
        rows = await session.rows(cls._batch(), after=after)
        return [(row[0], cls._seals_by_location(*row)) for row in rows]

    @classmethod
    async def exchange(
        cls, session: Session, row_id: UUID, column: str, *, old: bytes, new: bytes
    ) -> bool:
        values = {"connection_id": row_id, "old": old, "new": new}
        return bool(await session.rows(cls._exchange(column), **values))

    @classmethod
    def _seals_by_location(
        cls, row_id: UUID, owner: OwnerId, *columns: Any
    ) -> dict[SecretLocation, bytes]:
        """`columns` are those of the destination, followed by the seals."""
        bound, sealed = columns[: len(DATABASE)], columns[len(DATABASE) :]
        destination = dict(zip(DATABASE, bound, strict=True))
        locations = cls.locations(destination, row=row_id, owner=owner)
        seals = zip(cls.names, sealed, strict=True)
        return {locations[name]: value for name, value in seals if value is not None}


class SavedSeals(Sealed):
    names = SECRETS
    locations = staticmethod(secret_locations)

    @classmethod
    def key(cls) -> Any:
        return Connections.table().c.id


class OpenSeals(Sealed):
    names = TYPED_SECRETS
    locations = staticmethod(typed_locations)

    @classmethod
    def key(cls) -> Any:
        return OpenConnections.table().c.connection_id


_SAVED = Connections.table()
_DISCONNECT_COUNTS = compile_statement(
    select(_SAVED.c.id, _SAVED.c.disconnect_count).where(is_any_of(_SAVED.c.id)), unscoped=True
)


async def disconnect_counts(
    session: ReadSession, connection_ids: Iterable[UUID]
) -> dict[UUID, int]:
    """`disconnect_count` of each connection that exists, of any owner."""
    rows = await session.rows(_DISCONNECT_COUNTS, ids=list(connection_ids))
    return {row[0]: row[1] for row in rows}


_OPEN = OpenConnections.table()
_DELETE_EXPIRED = compile_change(
    delete_batch(_OPEN, _OPEN.c.expires_at <= func.now()), unscoped=True
)

FORGET_OPEN = compile_change(
    delete(OpenConnections.table()).returning(literal_column("1")), unscoped=True
)
"""Deletes the open connections of all owners: a copy of the database has none."""


async def sweep(session: Session) -> int:
    """Deletes a batch of expired open connections, with the secrets that were typed for them."""
    return len(await session.rows(_DELETE_EXPIRED))

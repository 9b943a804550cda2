"""The sealed secrets of all owners, for `howdah keys rotate`."""

from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select, update
from sqlalchemy.sql import ClauseElement

from db.connections.binding import DATABASE, secret_locations
from db.connections.drafts import SECRETS
from db.connections.repository import Connections, SealedRow
from db.kit.base import OwnerId
from db.postgres.engine import ReadSession, Session
from db.postgres.statements import unscoped_change, unscoped_statement
from db.security.vault import SecretLocation


class Sealed:
    """The sealed secrets of all owners; used only by `howdah keys rotate`."""

    @unscoped_statement
    def _batch(cls) -> ClauseElement:
        table = Connections.table()
        names = ("id", "owner_id", *DATABASE, *SealedRow._fields)
        columns = (table.c[name] for name in names)
        after = select(*columns).where(table.c.id > bindparam("after"))
        return after.order_by(table.c.id).limit(100)

    @unscoped_change
    def _exchange(cls, column: str) -> ClauseElement:
        """Replaces the seal only if it is unchanged: its owner may have saved a new secret."""
        table = Connections.table()
        same = (table.c.id == bindparam("id"), table.c[column] == bindparam("old"))
        return update(table).where(*same).values({column: bindparam("new")}).returning(table.c.id)

    @classmethod
    async def batch(
        cls, session: ReadSession, after: UUID
    ) -> list[tuple[UUID, dict[SecretLocation, bytes]]]:
        """Up to 100 connections after the ID `after`, each with its seals."""
        rows = await session.rows(cls._batch(), after=after)
        return [(row[0], _seals_by_location(*row)) for row in rows]

    @classmethod
    async def exchange(
        cls, session: Session, row_id: UUID, column: str, *, old: bytes, new: bytes
    ) -> bool:
        return bool(await session.rows(cls._exchange(column), id=row_id, old=old, new=new))


def _seals_by_location(row_id: UUID, owner: OwnerId, *columns: Any) -> dict[SecretLocation, bytes]:
    """`columns` are those of the destination, followed by the seals."""
    bound, sealed = columns[: len(DATABASE)], columns[len(DATABASE) :]
    destination = dict(zip(DATABASE, bound, strict=True))
    locations = secret_locations(destination, row=row_id, owner=owner)
    seals = zip(SECRETS, sealed, strict=True)
    return {locations[name]: value for name, value in seals if value is not None}

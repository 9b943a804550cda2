"""The sealed secrets of all owners, for `howdah keys rotate`."""

from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select, update
from sqlalchemy.sql import ClauseElement

from db.connections.binding import DATABASE, secret_places
from db.connections.drafts import SECRETS
from db.connections.repository import Connections, SealedRow
from db.kit.base import OwnerId
from db.postgres.engine import ReadSession, Session
from db.postgres.statements import unscoped_change, unscoped_statement
from db.security.vault import SecretLocation


class Sealed:
    """Everybody's secrets, sealed as they are: for `howdah keys rotate` alone."""

    @unscoped_statement
    def _batch(cls) -> ClauseElement:
        table = Connections.table()
        names = ("id", "owner_id", *DATABASE, *SealedRow._fields)
        columns = (table.c[name] for name in names)
        after = select(*columns).where(table.c.id > bindparam("after"))
        return after.order_by(table.c.id).limit(100)

    @unscoped_change
    def _exchange(cls, column: str) -> ClauseElement:
        """Only what is still the old: a user may have saved a new one meanwhile."""
        table = Connections.table()
        same = (table.c.id == bindparam("id"), table.c[column] == bindparam("old"))
        return update(table).where(*same).values({column: bindparam("new")}).returning(table.c.id)

    @classmethod
    async def batch(
        cls, session: ReadSession, after: UUID
    ) -> list[tuple[UUID, dict[SecretLocation, bytes]]]:
        """The next connections after this id: the id, and the secrets that it has."""
        found = await session.rows(cls._batch(), after=after)
        return [(row[0], _placed(*row)) for row in found]

    @classmethod
    async def exchange(
        cls, session: Session, row_id: UUID, column: str, *, old: bytes, new: bytes
    ) -> bool:
        found = await session.rows(cls._exchange(column), id=row_id, old=old, new=new)
        return bool(found)


def _placed(row_id: UUID, owner: OwnerId, *columns: Any) -> dict[SecretLocation, bytes]:
    """The seals of a row by their places; `columns` are its destination, then its seals."""
    bound, sealed = columns[: len(DATABASE)], columns[len(DATABASE) :]
    places = secret_places(dict(zip(DATABASE, bound, strict=True)), row=row_id, owner=owner)
    found = ((places[name], value) for name, value in zip(SECRETS, sealed, strict=True))
    return {place: value for place, value in found if value is not None}

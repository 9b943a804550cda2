"""Loaders of connections and preferences."""

from collections.abc import Mapping
from uuid import UUID

from db.connections import (
    ConnectionRow,
    Connections,
    OpenConnections,
    PreferenceRow,
    Preferences,
)
from db.postgres.engine import ReadSession
from graph.kit.ids import NameKey
from graph.kit.loaders import ById, Loader


class ConnectionById(ById[ConnectionRow]):
    repository = Connections


class IsOpen(Loader[UUID, bool]):
    """Whether a connection is open at any replica."""

    async def batch(self, session: ReadSession, keys: list[UUID]) -> Mapping[UUID, bool]:
        opened = await OpenConnections(session, self.context.owner).of_connections(keys)
        return {row.connection_id: True for row in opened}


class PreferenceByName(Loader[NameKey, PreferenceRow]):
    """The container of a preference is its owner."""

    async def batch(
        self, session: ReadSession, keys: list[NameKey]
    ) -> Mapping[NameKey, PreferenceRow]:
        owner = self.context.owner
        names = [key.names[0] for key in keys if key.container == owner]
        rows = await Preferences(session, owner).of_keys(names)
        return {NameKey(owner, (row.key,)): row for row in rows}

"""Destinations with their secrets: opened for a saved connection, or for a draft that is tested."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, TypeAlias
from uuid import UUID

from db.connections import (
    REQUIRED_TO_CONNECT,
    SECRETS,
    ConnectionRow,
    Connections,
    Draft,
    SealedRow,
    check_binding,
    check_connection,
    decrypt_stored_key,
    secret_locations,
    with_defaults,
)
from db.kit.base import OwnerId
from db.postgres.engine import Database
from db.security.vault import Vault
from db.workbench.connections.connection_errors import destination_changed
from db.workbench.connections.targets.destinations import Destination, destination_of

LendsAgentTo: TypeAlias = Callable[[UUID], Awaitable[bool]]


class Credentials:
    """Opens the secrets of one owner's connections. Each is used for its own destination only."""

    def __init__(
        self, database: Database, vault: Vault, lends_agent_to: LendsAgentTo | None = None
    ) -> None:
        """`lends_agent_to` accepts the owners who may use the SSH agent; None accepts no owner."""
        self._database = database
        self._vault = vault
        self._lends_agent_to = lends_agent_to

    async def lends_agent_to(self, owner: OwnerId) -> bool:
        """Whether tunnels of this owner may use the SSH agent of the server's account."""
        return self._lends_agent_to is not None and await self._lends_agent_to(owner)

    async def of_saved(
        self, owner: OwnerId, row: ConnectionRow, entered: Mapping[str, str]
    ) -> Destination:
        """The destination of `row`, with its stored secrets; `entered` replaces some of them.

        Raises:
            Conflict: The connection has another destination by now, and so have its secrets.
        """
        now, sealed = await self._read_with_secrets(owner, row.id)
        if destination_of(now) != destination_of(row):
            raise destination_changed()
        stored = await self._open_secrets(owner, now, sealed, entered=entered)
        return await self._destination(owner, row._asdict(), stored | dict(entered))

    async def of_draft(
        self, owner: OwnerId, draft: Draft, connection_id: UUID | None
    ) -> Destination:
        """The destination of an unsaved connection, or of a saved one with changes.

        Raises:
            SecretRequired: A stored secret was saved for another destination.
        """
        if connection_id is None:
            return await self._destination(
                owner, with_defaults(draft.values, needed=REQUIRED_TO_CONNECT), draft.secrets
            )
        row, sealed = await self._read_with_secrets(owner, connection_id)
        before, after = row._asdict(), row._asdict() | draft.values
        check_binding(before, after, stored=sealed.stored_secrets, entered=draft.secrets)
        stored = await self._open_secrets(owner, row, sealed, entered=draft.secrets)
        return await self._destination(owner, after, {**stored, **draft.secrets})

    async def _destination(
        self, owner: OwnerId, values: Mapping[str, Any], secrets: Mapping[str, str | None]
    ) -> Destination:
        given = {name for name, secret in secrets.items() if secret is not None}
        agent = await self.lends_agent_to(owner)
        check_connection(values, secrets=given, agent=agent)
        return Destination.of(values, secrets)

    async def _read_with_secrets(
        self, owner: OwnerId, connection_id: UUID
    ) -> tuple[ConnectionRow, SealedRow]:
        async with self._database.read() as session:
            return await Connections(session, owner).with_secrets(connection_id)

    async def _open_secrets(
        self, owner: OwnerId, row: ConnectionRow, sealed: SealedRow, *, entered: Collection[str]
    ) -> dict[str, str]:
        """Opens the stored secrets, except those that `entered` replaces."""
        places = secret_locations(row._asdict(), row=row.id, owner=owner)
        opened = {
            name: await self._vault.open(value, places[name])
            for name, value in zip(SECRETS, sealed, strict=True)
            if value is not None and name not in entered
        }
        return await decrypt_stored_key(opened, owner)

"""Destinations with their secrets: opened for a saved connection, or for a draft that is tested."""

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, TypeAlias
from uuid import UUID

from db.connections import (
    REQUIRED_TO_CONNECT,
    SECRETS,
    ConnectionRow,
    Connections,
    Draft,
    OpenConnections,
    SealedRow,
    TypedSeals,
    check_binding,
    check_connection,
    secret_locations,
    typed_locations,
    with_defaults,
)
from db.errors import Unavailable
from db.kit.base import OwnerId
from db.postgres.engine import Database
from db.postgres.sessions import Session
from db.security.vault import Vault
from db.workbench.connections.connection_errors import connection_closed, destination_changed
from db.workbench.connections.targets.destinations import Destination, destination_of

LendsAgentTo: TypeAlias = Callable[[UUID], Awaitable[bool]]
Typed: TypeAlias = Mapping[str, str]
"""Secrets passed to `connect`, by name."""

log = logging.getLogger(__name__)


class Credentials:
    """Opens the secrets of one owner's connections. Each is used for its own destination only.

    A secret is stored with its connection, or was typed to open it. Typed ones are used instead of
    stored ones, by every replica, until they expire.
    """

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
        self, owner: OwnerId, row: ConnectionRow, typed: Typed | None = None
    ) -> tuple[Destination, float | None]:
        """The destination of `row` with its secrets, and the seconds until they expire, if they do.

        `typed` secrets, which are not stored yet, replace the others.

        Raises:
            Conflict: The connection has another destination by now, and so have its secrets.
            Unavailable: The connection was closed in the meantime.
        """
        async with self._database.read() as session:
            now, sealed = await Connections(session, owner).with_secrets(row.id)
            seals = await OpenConnections(session, owner).typed_seals(row.id)
        _check_unchanged(row, now)
        earlier = await self._open_typed(owner, now, seals)
        given = earlier | dict(typed or {})
        stored = await self._open_stored(owner, now, sealed, entered=given)
        destination = await self._destination(owner, row._asdict(), stored | given)
        return destination, seals.left_s if seals and earlier else None

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
        async with self._database.read() as session:
            row, sealed = await Connections(session, owner).with_secrets(connection_id)
        before, after = row._asdict(), row._asdict() | draft.values
        check_binding(before, after, stored=sealed.stored_secrets, entered=draft.secrets)
        stored = await self._open_stored(owner, row, sealed, entered=draft.secrets)
        return await self._destination(owner, after, {**stored, **draft.secrets})

    async def store_typed(
        self,
        owner: OwnerId,
        row: ConnectionRow,
        typed: Typed,
        *,
        server_version: str,
        tls: str | None,
    ) -> ConnectionRow:
        """Stores secrets with which the server of `row` was connected to.

        Returns:
            The connection; its `secrets_version` is larger if other secrets were in use.

        Raises:
            Conflict: The destination was changed in the meantime.
            Unavailable: The connection was closed in the meantime.
        """
        places = typed_locations(row._asdict(), row=row.id, owner=owner)
        sealed = {
            name: await self._vault.seal(secret, places[name]) for name, secret in typed.items()
        }

        async def store(session: Session) -> ConnectionRow:
            connections, opened = Connections(session, owner), OpenConnections(session, owner)
            now, _ = await connections.with_secrets(row.id, lock=True)
            _check_unchanged(row, now)
            earlier = await self._open_typed(owner, now, await opened.typed_seals(row.id))
            await opened.store_typed(row.id, sealed, server_version=server_version, tls=tls)
            if all(earlier.get(name) == secret for name, secret in typed.items()):
                return now
            return await connections.record_typed(row.id)

        return await self._database.transaction(store)

    async def _destination(
        self, owner: OwnerId, values: Mapping[str, Any], secrets: Mapping[str, str | None]
    ) -> Destination:
        given = {name for name, secret in secrets.items() if secret is not None}
        agent = await self.lends_agent_to(owner)
        check_connection(values, secrets=given, agent=agent)
        return Destination.of(values, secrets)

    async def _open_stored(
        self, owner: OwnerId, row: ConnectionRow, sealed: SealedRow, *, entered: Collection[str]
    ) -> dict[str, str]:
        """Opens the stored secrets, except those that `entered` replaces."""
        places = secret_locations(row._asdict(), row=row.id, owner=owner)
        return {
            name: await self._vault.open(value, places[name])
            for name, value in zip(SECRETS, sealed, strict=True)
            if value is not None and name not in entered
        }

    async def _open_typed(
        self, owner: OwnerId, row: ConnectionRow, seals: TypedSeals | None
    ) -> dict[str, str]:
        """Opens the typed secrets. One that does not open is typed again, as after its expiry."""
        places = typed_locations(row._asdict(), row=row.id, owner=owner)
        opened: dict[str, str] = {}
        for name, value in (seals.by_name if seals else {}).items():
            try:
                opened[name] = await self._vault.open(value, places[name])
            except Unavailable as error:
                log.warning("a secret typed for connection %s is not used: %s", row.id.hex, error)
        return opened


def _check_unchanged(before: ConnectionRow, now: ConnectionRow) -> None:
    if destination_of(now) != destination_of(before):
        raise destination_changed()
    if now.disconnect_count != before.disconnect_count:
        raise connection_closed()

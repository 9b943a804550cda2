"""Saves and deletes connections: row, sealed secrets and open pool together."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from db.connections import ConnectionRow, Connections, DatabaseConnection, Draft, SealedRow, draft
from db.kit.base import OwnerId, new_id
from db.kit.idempotency import Idempotency
from db.postgres.engine import Database, Session
from db.security.vault import SecretLocation, Vault
from db.workbench.connections.workbench import Workbench

_TABLE = DatabaseConnection.__tablename__


@dataclass(frozen=True, slots=True)
class Shelf:
    """The saved connections of everybody, an owner at a time."""

    database: Database
    vault: Vault
    workbench: Workbench

    async def add(
        self, owner: OwnerId, given: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> ConnectionRow:
        """Without `save_password` no password is kept."""
        typed = dict(given)
        save = typed.pop("save_password", None)
        taken = await draft(typed)
        if not save:
            taken.secrets.pop("password", None)
        row_id = new_id()
        asked = ("saveConnection", taken.values, self._fingerprints(taken))
        async with self.vault.sealing(
            taken.sealed, table=_TABLE, row=row_id, owner=owner
        ) as sealed:
            agent = self.workbench.lends_agent

            async def work(session: Session) -> ConnectionRow:
                connections = Connections(session, owner)
                if idempotency_key is None:
                    return await connections.create(row_id, taken, sealed, agent=agent)
                return await Idempotency(session, owner).run_once(
                    idempotency_key,
                    asked,
                    lambda: connections.create(row_id, taken, sealed, agent=agent),
                    answer=ConnectionRow,
                )

            row = await self.database.transaction(work)
            if row.id != row_id:  # a retry: its first answer stands, with the secrets of then
                await self._forget(owner, row_id, SealedRow(**sealed))
        return row

    async def change(
        self,
        owner: OwnerId,
        connection_id: UUID,
        given: Mapping[str, Any],
        *,
        expected_version: int | None = None,
    ) -> ConnectionRow:
        """A new password replaces a stored one; to store the first, ask with `save_password`."""
        typed = dict(given)
        save = typed.pop("save_password", None)
        taken = await draft(typed)
        if save is False:
            taken.secrets["password"] = None
        elif save is None and "password" in typed and not await self._stores(owner, connection_id):
            del taken.secrets["password"]
        place: dict[str, Any] = {"table": _TABLE, "row": connection_id, "owner": owner}
        async with self.vault.sealing(taken.sealed, **place) as sealed:

            async def work(session: Session) -> tuple[SealedRow, ConnectionRow]:
                connections = Connections(session, owner)
                before = await connections.sealed(connection_id)
                return before, await connections.change(
                    connection_id,
                    taken,
                    sealed,
                    agent=self.workbench.lends_agent,
                    expected_version=expected_version,
                )

            before, row = await self.database.transaction(work)
        replaced = {name: value for name, value in before._asdict().items() if name in sealed}
        await self._forget(owner, connection_id, SealedRow(**replaced))
        self.workbench.renew(owner, row)
        return row

    async def remove(self, owner: OwnerId, connection_id: UUID) -> None:
        """Its pool is closed, its secrets are forgotten; what was run with it stays."""

        async def work(session: Session) -> SealedRow:
            connections = Connections(session, owner)
            sealed = await connections.sealed(connection_id)
            await connections.remove(connection_id)
            return sealed

        sealed = await self.database.transaction(work)
        await self.workbench.drop(owner, connection_id)
        await self._forget(owner, connection_id, sealed)

    async def _stores(self, owner: OwnerId, connection_id: UUID) -> bool:
        async with self.database.read() as session:
            row = await Connections(session, owner).get(connection_id)
        return row is not None and row.has_stored_password

    async def _forget(self, owner: OwnerId, row_id: UUID, sealed: SealedRow) -> None:
        for column, value in sealed._asdict().items():
            await self.vault.forget(value, SecretLocation(_TABLE, row_id, owner, column))

    def _fingerprints(self, taken: Draft) -> dict[str, str | None]:
        """Tells the same secret from another, and nobody else anything."""
        return {
            name: None if secret is None else self.vault.fingerprint(secret)
            for name, secret in taken.secrets.items()
        }

"""Saves and deletes connections: row, sealed secrets and open pool together."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from db.connections import (
    SECRETS,
    ConnectionRow,
    Connections,
    Draft,
    SealedRow,
    parse_draft,
    secret_locations,
    with_defaults,
)
from db.kit.base import OwnerId, new_id
from db.kit.idempotency import Idempotency
from db.postgres.engine import Database, Session
from db.security.vault import SecretLocation, Vault
from db.workbench.connections.workbench import Workbench


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
        taken = await parse_draft(typed)
        if not save:
            taken.secrets.pop("password", None)
        row_id = new_id()
        places = secret_locations(with_defaults(taken.values), row=row_id, owner=owner)
        asked = ("saveConnection", taken.values, self._fingerprints(taken))
        async with self._sealing(taken, places) as sealed:
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
                await self._forget(SealedRow(**sealed), places)
        return row

    async def change(
        self,
        owner: OwnerId,
        connection_id: UUID,
        given: Mapping[str, Any],
        *,
        expected_version: int | None = None,
    ) -> ConnectionRow:
        """A new password replaces a stored one; to store the first, ask with `save_password`.

        Raises:
            SecretRequired: the destination changes, and a secret stored for it is not given anew.
        """
        typed = dict(given)
        save = typed.pop("save_password", None)
        taken = await parse_draft(typed)
        async with self.database.read() as session:
            seen, _ = await Connections(session, owner).with_secrets(connection_id)
        if save is False:
            taken.secrets["password"] = None
        elif save is None and "password" in typed and not seen.has_stored_password:
            del taken.secrets["password"]
        places = secret_locations(seen._asdict() | taken.values, row=seen.id, owner=owner)
        async with self._sealing(taken, places) as sealed:
            change = await self.database.transaction(
                lambda session: Connections(session, owner).change(
                    seen,
                    taken,
                    sealed,
                    agent=self.workbench.lends_agent,
                    expected_version=expected_version,
                )
            )
        former = secret_locations(change.before._asdict(), row=seen.id, owner=owner)
        await self._forget(change.replaced, former)
        self.workbench.renew(owner, change.row)
        return change.row

    async def remove(self, owner: OwnerId, connection_id: UUID) -> None:
        """Its pool is closed, its secrets are forgotten; what was run with it stays."""

        async def work(session: Session) -> tuple[ConnectionRow, SealedRow]:
            connections = Connections(session, owner)
            removed = await connections.with_secrets(connection_id, lock=True)
            await connections.remove(connection_id)
            return removed

        row, sealed = await self.database.transaction(work)
        await self.workbench.drop(owner, connection_id)
        await self._forget(sealed, secret_locations(row._asdict(), row=row.id, owner=owner))

    def _sealing(
        self, taken: Draft, places: Mapping[str, SecretLocation]
    ) -> AbstractAsyncContextManager[dict[str, bytes | None]]:
        return self.vault.sealing({places[name]: secret for name, secret in taken.secrets.items()})

    async def _forget(self, sealed: SealedRow, places: Mapping[str, SecretLocation]) -> None:
        for name, value in zip(SECRETS, sealed, strict=True):
            await self.vault.forget(value, places[name])

    def _fingerprints(self, taken: Draft) -> dict[str, str | None]:
        """Tells the same secret from another, and nobody else anything."""
        return {
            name: None if secret is None else self.vault.fingerprint(secret)
            for name, secret in taken.secrets.items()
        }

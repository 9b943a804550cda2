"""Saves and deletes connections: row, sealed secrets and open pool together."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from db.connections import (
    SECRETS,
    TYPED_SECRETS,
    ConnectionRow,
    Connections,
    ConnectionUpdate,
    Draft,
    OpenConnections,
    SealedRow,
    parse_draft,
    require_fields,
    secret_locations,
    with_defaults,
)
from db.kit.audit import AuditKind, Recording, record, recording_outcome
from db.kit.base import OwnerId, new_id
from db.kit.idempotency import run_once
from db.kit.row_quota import RowQuota
from db.postgres.engine import Database
from db.postgres.sessions import Session
from db.security.vault import SecretLocation, Vault
from db.workbench.connections.targets.destinations import destination_of
from db.workbench.connections.workbench import Workbench


@dataclass(frozen=True, slots=True)
class SavedConnections:
    """Saves, changes and deletes the connections of one owner per call."""

    database: Database
    vault: Vault
    workbench: Workbench
    quota: RowQuota | None = None

    async def add(
        self, owner: OwnerId, fields: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> ConnectionRow:
        """Stores the password unless `save_password` is false."""
        values = dict(fields)
        save = values.pop("save_password", None)
        require_fields(values)
        changes = await parse_draft(values, owner=owner)
        if save is False:
            changes.secrets.pop("password", None)
        row_id = new_id()
        places = secret_locations(with_defaults(changes.values), row=row_id, owner=owner)
        agent = await self.workbench.lends_agent_to(owner)
        async with self._sealing(changes, places) as sealed:

            async def create(session: Session) -> ConnectionRow:
                connections = Connections(session, owner)
                if self.quota is not None:
                    await self.quota.check(connections)
                row = await connections.create(row_id, changes, sealed, agent=agent)
                await _record(session, AuditKind.CONNECTION_SAVED, owner, row, created=True)
                return row

            row = await run_once(
                self.database,
                owner,
                create,
                key=idempotency_key,
                request=("saveConnection", changes.values, self._fingerprints(changes)),
                answer=ConnectionRow,
            )
            if row.id != row_id:  # a replay: the first connection keeps its secrets
                await self._forget(SealedRow(**sealed), places)
        return row

    async def change(
        self,
        owner: OwnerId,
        connection_id: UUID,
        fields: Mapping[str, Any],
        *,
        expected_version: int | None = None,
    ) -> ConnectionRow:
        """Stores a new password, and removes a stored one if `save_password` is false.

        Raises:
            SecretRequired: The destination changes, and a secret stored for it is not entered.
        """
        values = dict(fields)
        save = values.pop("save_password", None)
        changes = await parse_draft(values, owner=owner)
        async with self.database.read() as session:
            seen, _ = await Connections(session, owner).with_secrets(connection_id)
        if save is False:
            changes.secrets["password"] = None
        places = secret_locations(seen._asdict() | changes.values, row=seen.id, owner=owner)
        agent = await self.workbench.lends_agent_to(owner)
        async with self._sealing(changes, places) as sealed:

            async def work(session: Session) -> ConnectionUpdate:
                done = await Connections(session, owner).change(
                    seen, changes, sealed, agent=agent, expected_version=expected_version
                )
                await _close_if_outdated(session, owner, done, changes)
                names = sorted((*changes.values, *changes.secrets))
                await _record(session, AuditKind.CONNECTION_SAVED, owner, done.row, changed=names)
                return done

            change = await self.database.transaction(work)
        former_places = secret_locations(change.before._asdict(), row=seen.id, owner=owner)
        await self._forget(change.replaced, former_places)
        self.workbench.renew(owner, change.row)
        return change.row

    async def remove(self, owner: OwnerId, connection_id: UUID) -> None:
        """Also closes the pool and deletes the secrets. Query runs are kept."""

        async def work(session: Session) -> tuple[ConnectionRow, SealedRow]:
            connections = Connections(session, owner)
            removed = await connections.with_secrets(connection_id, lock=True)
            await connections.remove(connection_id)
            await _record(session, AuditKind.CONNECTION_DELETED, owner, removed[0])
            return removed

        row, sealed = await self.database.transaction(work)
        await self.workbench.drop(connection_id)
        await self._forget(sealed, secret_locations(row._asdict(), row=row.id, owner=owner))

    @asynccontextmanager
    async def recording(
        self,
        kind: AuditKind,
        owner: OwnerId,
        connection_id: UUID | None,
        values: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[Recording]:
        """Records the use of a connection after the block, with its destination and outcome.

        `values` replace those of the saved connection, of which there may be none.
        """
        async with recording_outcome(
            self.database, kind, owner_id=owner, subject_id=connection_id
        ) as event:
            row = None
            if connection_id is not None:
                async with self.database.read() as session:
                    row = await Connections(session, owner).get(connection_id)
            used = (row._asdict() if row else {}) | dict(values or {})
            event.subject_name, event.details = used.get("name"), _destination_of(used)
            yield event

    def _sealing(
        self, changes: Draft, places: Mapping[str, SecretLocation]
    ) -> AbstractAsyncContextManager[dict[str, bytes | None]]:
        return self.vault.sealing(
            {places[name]: secret for name, secret in changes.secrets.items()}
        )

    async def _forget(self, sealed: SealedRow, places: Mapping[str, SecretLocation]) -> None:
        for name, value in zip(SECRETS, sealed, strict=True):
            await self.vault.forget(value, places[name])

    def _fingerprints(self, changes: Draft) -> dict[str, str | None]:
        """Keyed digests of the secrets: equal secrets can be recognized, but not read."""
        return {
            name: None if secret is None else self.vault.fingerprint(secret)
            for name, secret in changes.secrets.items()
        }


async def _close_if_outdated(
    session: Session, owner: OwnerId, done: ConnectionUpdate, changes: Draft
) -> None:
    """Deletes the typed secrets of a former destination, and those that were saved now."""
    opened = OpenConnections(session, owner)
    if destination_of(done.before) != destination_of(done.row):
        await opened.close(done.row.id)
    elif saved := [name for name in TYPED_SECRETS if changes.secrets.get(name) is not None]:
        await opened.forget_typed(done.row.id, saved)


_DESTINATION = {
    "host": "host",
    "port": "port",
    "database": "database",
    "username": "username",
    "ssl_mode": "sslMode",
    "ssh_host": "sshHost",
    "read_only": "readOnly",
}
"""The columns that an event has as details."""


def _destination_of(values: Mapping[str, Any]) -> dict[str, object]:
    return {shown: values.get(name) for name, shown in _DESTINATION.items()}


async def _record(
    session: Session, kind: AuditKind, owner: OwnerId, row: ConnectionRow, **details: object
) -> None:
    await record(
        session,
        kind,
        owner_id=owner,
        subject_id=row.id,
        subject_name=row.name,
        details=_destination_of(row._asdict()) | details,
    )

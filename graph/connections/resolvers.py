"""Queries and mutations on connections, preferences and the credential store."""

from typing import Annotated
from uuid import UUID

import strawberry

from db.connections import (
    REQUIRED_TO_CONNECT,
    ConnectionRow,
    Connections,
    PreferenceRow,
    Preferences,
    checked_typed_secrets,
    parse_draft,
    require_fields,
)
from db.database_sessions import DatabaseSessions
from db.errors import Forbidden, NotFound
from db.kit.audit import AuditKind
from db.kit.lists.paging import Window
from db.workbench import ActivePool, ProbeResult, SavedConnections
from graph.auth import SignedIn
from graph.connections.inputs import (
    ConnectInput,
    ConnectPayload,
    DeleteConnectionInput,
    DeleteConnectionPayload,
    DeletePreferenceInput,
    DeletePreferencePayload,
    DisconnectInput,
    DisconnectPayload,
    RefreshCatalogueInput,
    RefreshCataloguePayload,
    SaveConnectionInput,
    SaveConnectionPayload,
    SetPreferenceInput,
    SetPreferencePayload,
    TestConnectionInput,
    form_fields,
)
from graph.connections.loaders import ConnectionById
from graph.connections.types import (
    ActiveConnection,
    CredentialStore,
    CredentialStoreKind,
    DatabaseConnection,
    Preference,
    TestConnectionPayload,
    preference_id,
)
from graph.context import Context, Info
from graph.kit.fields import argument, mutation, provided_fields, query
from graph.kit.ids import parse_id
from graph.kit.paging import Connection, Listing, paged
from graph.kit.scopes import TO_RUN, WORKBENCH

ConnectionId = Annotated[strawberry.ID, argument("ID of the connection.")]
PreferenceKey = Annotated[str, argument("Key of the preference.")]

SCOPES = WORKBENCH


@strawberry.type
class Query:
    @query(
        "Fetches one of the viewer's connections by ID. Returns null if the viewer has no such "
        "connection.",
        who=SignedIn,
        type=DatabaseConnection | None,
    )
    async def connection(self, info: Info, id: ConnectionId) -> ConnectionRow | None:
        return await ConnectionById.of(info.context).load(parse_id("conn", id))

    @query(
        "The viewer's saved connections, ordered by name.",
        who=SignedIn,
        type=Connection[DatabaseConnection],
    )
    @paged
    async def connections(self, info: Info, window: Window) -> Listing:
        context = info.context
        page = await context.read(Connections, lambda connections: connections.page(window))
        return Listing(page, lambda: context.read(Connections, Connections.count))

    @query(
        "The viewer's open connections, in the order they were opened. All replicas of the server "
        "return the same connections; the figures of the pools are those of the server that "
        "answers this request.",
        who=SignedIn,
        type=list[ActiveConnection],
    )
    async def active_connections(self, info: Info) -> list[ActivePool]:
        return await info.context.services.workbench.active(info.context.owner)

    @query(
        "Fetches one of the viewer's preferences by key. Returns null if it is not set.",
        who=SignedIn,
        type=Preference | None,
    )
    async def preference(self, info: Info, key: PreferenceKey) -> PreferenceRow | None:
        return await info.context.read(Preferences, lambda rows: rows.of_key(key))

    @query("All preferences of the viewer, ordered by key.", who=SignedIn, type=list[Preference])
    async def preferences(self, info: Info) -> list[PreferenceRow]:
        return await info.context.read(Preferences, Preferences.list_all)

    @query("Where this server stores new connection secrets of the viewer.", who=SignedIn)
    async def credential_store(self, info: Info) -> CredentialStore:
        vault, owner = info.context.services.vault, info.context.owner
        has_keychain = await vault.keychain_for(owner) is not None
        kind = CredentialStoreKind.KEYCHAIN if has_keychain else CredentialStoreKind.ENCRYPTED
        return CredentialStore(kind=kind, keychain_available=has_keychain)


@strawberry.type
class Mutation:
    @mutation(
        "Creates a connection, or updates it if `id` is given. Does not connect to the database. "
        "Fails with `BAD_USER_INPUT` if a stored secret has to be entered again, because the "
        "destination changes; `field` names it.",
        who=SignedIn,
    )
    async def save_connection(
        self,
        info: Info,
        input: Annotated[SaveConnectionInput, argument("Fields of the connection.")],
    ) -> SaveConnectionPayload:
        owner, saved, fields = (
            info.context.owner,
            _saved_connections(info.context),
            provided_fields(input),
        )
        if fields.get("id") is None:
            key = fields.get("idempotency_key")
            row = await saved.add(owner, form_fields(input), idempotency_key=key)
        else:
            row = await saved.change(
                owner,
                parse_id("conn", fields["id"]),
                form_fields(input),
                expected_version=fields.get("expected_version"),
            )
        return SaveConnectionPayload(connection=row)

    @mutation(
        "Closes and deletes a connection and its secrets. Closes its sessions and ends its running "
        "statements. Its query runs are kept.",
        who=SignedIn,
    )
    async def delete_connection(
        self, info: Info, input: Annotated[DeleteConnectionInput, argument("Connection to delete.")]
    ) -> DeleteConnectionPayload:
        saved, row_id = _saved_connections(info.context), parse_id("conn", input.id)
        await info.context.services.database_sessions.close_all_on(info.context.owner, row_id)
        await saved.remove(info.context.owner, row_id)
        return DeleteConnectionPayload(deleted_connection_id=input.id)

    @mutation(
        "Tests a connection within 10 seconds, without saving it or leaving it open.",
        who=SignedIn,
        type=TestConnectionPayload,
    )
    async def test_connection(
        self, info: Info, input: Annotated[TestConnectionInput, argument("Connection to test.")]
    ) -> ProbeResult:
        row_id = parse_id("conn", input.id) if input.id else None
        fields = form_fields(input)
        fields.pop("save_password", None)
        if row_id is None:
            require_fields(fields, REQUIRED_TO_CONNECT)
        workbench, owner = info.context.services.workbench, info.context.owner
        draft = await parse_draft(fields, owner=owner)
        saved, kind = _saved_connections(info.context), AuditKind.CONNECTION_TESTED
        async with saved.recording(kind, owner, row_id, draft.values) as event:
            result = await workbench.probe(owner, draft, connection_id=row_id)
            if result.problem is not None:
                event.fail(result.problem.code)
        return result

    @mutation(
        "Opens a connection, for all replicas of the server. Optional if the password is stored: "
        "the connection then opens when it is first used. Passwords that the database accepts are "
        "kept in encrypted form until `disconnect`, for at most 12 hours. Fails with "
        "`BAD_USER_INPUT` and a `field` such as `password` if the database refuses the connection, "
        "and with `UNAVAILABLE` if it does not answer.",
        who=SignedIn,
        scopes=TO_RUN,
    )
    async def connect(
        self, info: Info, input: Annotated[ConnectInput, argument("Connection to open.")]
    ) -> ConnectPayload:
        row_id = parse_id("conn", input.id)
        fields = provided_fields(input)
        secrets = checked_typed_secrets(fields)
        workbench, owner = info.context.services.workbench, info.context.owner
        recording = _saved_connections(info.context).recording
        async with recording(AuditKind.CONNECTION_OPENED, owner, row_id):
            active = await workbench.connect(
                owner, row_id, secrets, expected_version=fields.get("expected_version")
            )
        row = await _require_row(info.context, row_id)
        return ConnectPayload(connection=row, active_connection=active)

    @mutation(
        "Closes a connection and its sessions at all replicas of the server. Ends the running "
        "statements and deletes the passwords passed to `connect`. Fails with `FORBIDDEN` if a "
        "session may write and the access token only reads.",
        who=SignedIn,
        scopes=TO_RUN,
        urgent=True,
    )
    async def disconnect(
        self, info: Info, input: Annotated[DisconnectInput, argument("Connection to close.")]
    ) -> DisconnectPayload:
        row_id = parse_id("conn", input.id)
        workbench, owner = info.context.services.workbench, info.context.owner
        if info.context.signed_in.must_read_only:
            await _require_no_session_that_writes(info.context, row_id)
        recording = _saved_connections(info.context).recording
        async with recording(AuditKind.CONNECTION_CLOSED, owner, row_id):
            await info.context.services.database_sessions.close_all_on(owner, row_id)
            await workbench.disconnect(owner, row_id)
        return DisconnectPayload(connection=await _require_row(info.context, row_id))

    @mutation(
        "Makes all replicas of the server read the catalogue of a database again when it is used "
        "next. Necessary only after changes by other programs: completion and search read it again "
        "after statements that change it, and after 5 minutes unless the operator changed that.",
        who=SignedIn,
        scopes=TO_RUN,
    )
    async def refresh_catalogue(
        self,
        info: Info,
        input: Annotated[RefreshCatalogueInput, argument("Connection of the catalogue.")],
    ) -> RefreshCataloguePayload:
        row_id = parse_id("conn", input.connection_id, argument="connectionId")
        row = await info.context.read(
            Connections, lambda connections: connections.require(row_id, field="connectionId")
        )
        await info.context.services.catalogues.mark_changed(row_id)
        return RefreshCataloguePayload(connection=row)

    @mutation("Creates or replaces a preference of the viewer.", who=SignedIn)
    async def set_preference(
        self,
        info: Info,
        input: Annotated[SetPreferenceInput, argument("Key and value of the preference.")],
    ) -> SetPreferencePayload:
        values = provided_fields(input)
        row = await info.context.transact(Preferences, lambda rows: rows.put(**values))
        return SetPreferencePayload(preference=row)

    @mutation("Deletes a preference of the viewer.", who=SignedIn)
    async def delete_preference(
        self, info: Info, input: Annotated[DeletePreferenceInput, argument("Preference to delete.")]
    ) -> DeletePreferencePayload:
        key = await info.context.write(Preferences, lambda rows: rows.drop(input.key))
        return DeletePreferencePayload(
            deleted_preference_id=preference_id(info.context.owner, key),
            deleted_preference_key=key,
        )


def _saved_connections(context: Context) -> SavedConnections:
    services = context.services
    return SavedConnections(
        services.database, services.vault, services.workbench, services.quotas.connections
    )


async def _require_no_session_that_writes(context: Context, connection_id: UUID) -> None:
    """Raises Forbidden: its open transaction would be rolled back."""
    opened = await context.read(DatabaseSessions, lambda rows: rows.open_on(connection_id))
    if not all(row.read_only for row in opened):
        raise Forbidden(
            "This access token may run read-only statements only, and a session on this connection "
            "may write.",
            hint="Close the session first, or use a token with WORKBENCH_WRITE.",
            field="id",
        )


async def _require_row(context: Context, row_id: UUID) -> ConnectionRow:
    row: ConnectionRow | None = await context.read(
        Connections, lambda connections: connections.get(row_id)
    )
    if row is None:
        raise NotFound(
            "The connection was deleted during this request.",
            hint="Fetch the list of connections again.",
        )
    return row

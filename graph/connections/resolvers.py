"""Connections: the viewer's own databases, saved, tried out, opened and looked into."""

from typing import Annotated
from uuid import UUID

import strawberry

from db.connections import ConnectionRow, Connections, PreferenceRow, Preferences, draft
from db.errors import NotFound
from db.workbench import ActivePool, Shelf, Trial
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
    SaveConnectionInput,
    SaveConnectionPayload,
    SetPreferenceInput,
    SetPreferencePayload,
    TestConnectionInput,
    typed,
)
from graph.connections.loaders import ConnectionById
from graph.connections.types import (
    ActiveConnection,
    CredentialStore,
    CredentialStoreKind,
    DatabaseConnection,
    Preference,
    TestConnectionPayload,
)
from graph.context import Context, Info
from graph.kit.fields import argument, given, mutation, query
from graph.kit.ids import parse_id
from graph.kit.paging import After, Before, Connection, First, Last, Listing, window

ConnectionId = Annotated[strawberry.ID, argument("The id of a connection.")]
PreferenceKey = Annotated[str, argument("Its name.")]


@strawberry.type
class Query:
    """What can be asked."""

    @query(
        "One of my connections; null when I have none of this id.",
        who=SignedIn,
        type=DatabaseConnection | None,
    )
    async def connection(self, info: Info, id: ConnectionId) -> ConnectionRow | None:
        return await ConnectionById.of(info.context).load(parse_id("conn", id))

    @query("My connections, by name.", who=SignedIn, type=Connection[DatabaseConnection])
    async def connections(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Listing:
        context = info.context
        asked = window(context, first=first, after=after, last=last, before=before)
        page = await context.read(Connections, lambda connections: connections.page(asked))
        return Listing(page, lambda: context.read(Connections, Connections.count))

    @query(
        "My connections that are open at this server.", who=SignedIn, type=list[ActiveConnection]
    )
    async def active_connections(self, info: Info) -> list[ActivePool]:
        return info.context.services.workbench.active(info.context.owner)

    @query(
        "One of my preferences; null when it was never set.", who=SignedIn, type=Preference | None
    )
    async def preference(self, info: Info, key: PreferenceKey) -> PreferenceRow | None:
        return await info.context.read(Preferences, lambda found: found.of_key(key))

    @query("All my preferences, by key.", who=SignedIn, type=list[Preference])
    async def preferences(self, info: Info) -> list[PreferenceRow]:
        return await info.context.read(Preferences, Preferences.every)

    @query("Where this server keeps the secrets of connections.", who=SignedIn)
    async def credential_store(self, info: Info) -> CredentialStore:
        _ = info.context.owner
        has_keychain = await info.context.services.vault.keychain() is not None
        kind = CredentialStoreKind.KEYCHAIN if has_keychain else CredentialStoreKind.ENCRYPTED
        return CredentialStore(kind=kind, keychain_available=has_keychain)


@strawberry.type
class Mutation:
    """What can be changed."""

    @mutation("Saves a connection; opens nothing.", who=SignedIn)
    async def save_connection(
        self, info: Info, input: Annotated[SaveConnectionInput, argument("The connection.")]
    ) -> SaveConnectionPayload:
        owner, shelf, asked = info.context.owner, _shelf(info.context), given(input)
        if asked.get("id") is None:
            key = asked.get("idempotency_key")
            row = await shelf.add(owner, typed(input), idempotency_key=key)
        else:
            row = await shelf.change(
                owner,
                parse_id("conn", asked["id"]),
                typed(input),
                expected_version=asked.get("expected_version"),
            )
        return SaveConnectionPayload(connection=row)

    @mutation("Deletes a connection: closes it, removes its secrets, keeps its runs.", who=SignedIn)
    async def delete_connection(
        self, info: Info, input: Annotated[DeleteConnectionInput, argument("Which one.")]
    ) -> DeleteConnectionPayload:
        await _shelf(info.context).remove(info.context.owner, parse_id("conn", input.id))
        return DeleteConnectionPayload(deleted_connection_id=input.id)

    @mutation(
        "Tries a connection out, within 10 s; saves and opens nothing.",
        who=SignedIn,
        type=TestConnectionPayload,
    )
    async def test_connection(
        self, info: Info, input: Annotated[TestConnectionInput, argument("What to try.")]
    ) -> Trial:
        row_id = parse_id("conn", input.id) if input.id else None
        form = {name: value for name, value in typed(input).items() if name != "save_password"}
        workbench = info.context.services.workbench
        return await workbench.probe(info.context.owner, await draft(form), connection_id=row_id)

    @mutation("Opens a connection at this server.", who=SignedIn)
    async def connect(
        self, info: Info, input: Annotated[ConnectInput, argument("Which one.")]
    ) -> ConnectPayload:
        row_id = parse_id("conn", input.id)
        asked = given(input)
        secrets = (await draft({name: asked[name] for name in _TYPED if asked.get(name)})).secrets
        typed_in = {name: secret for name, secret in secrets.items() if secret is not None}
        workbench = info.context.services.workbench
        active = await workbench.connect(info.context.owner, row_id, typed_in)
        return ConnectPayload(connection=await _row(info.context, row_id), active_connection=active)

    @mutation(
        "Closes a connection: ends its statements, forgets what was typed to open it.",
        who=SignedIn,
        urgent=True,
    )
    async def disconnect(
        self, info: Info, input: Annotated[DisconnectInput, argument("Which one.")]
    ) -> DisconnectPayload:
        row_id = parse_id("conn", input.id)
        await info.context.services.workbench.disconnect(info.context.owner, row_id)
        return DisconnectPayload(connection=await _row(info.context, row_id))

    @mutation("Sets a preference.", who=SignedIn)
    async def set_preference(
        self, info: Info, input: Annotated[SetPreferenceInput, argument("Its key and value.")]
    ) -> SetPreferencePayload:
        asked = given(input)
        row = await info.context.transact(Preferences, lambda found: found.put(**asked))
        return SetPreferencePayload(preference=row)

    @mutation("Deletes a preference.", who=SignedIn)
    async def delete_preference(
        self, info: Info, input: Annotated[DeletePreferenceInput, argument("Which one.")]
    ) -> DeletePreferencePayload:
        key = await info.context.write(Preferences, lambda found: found.drop(input.key))
        return DeletePreferencePayload(deleted_preference_key=key)


_TYPED = ("password", "ssh_password")


def _shelf(context: Context) -> Shelf:
    services = context.services
    return Shelf(services.database, services.vault, services.workbench)


async def _row(context: Context, row_id: UUID) -> ConnectionRow:
    row: ConnectionRow | None = await context.read(
        Connections, lambda connections: connections.get(row_id)
    )
    if row is None:
        raise NotFound("The connection was deleted meanwhile.", hint="Read the list again.")
    return row

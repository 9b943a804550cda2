"""GraphQL types of saved and open connections, preferences and the credential store."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec
import strawberry

from db.connections import ConnectionRow, PreferenceRow, SshAuthMethod, SslMode
from db.kit.lists.paging import Page, Window
from db.workbench import ActivePool, ProbeResult, Problem
from db.workbench.catalogue import DATABASE
from db.workbench.catalogue import ReadOnlyRisk as ReadOnlyRiskRow
from db.workbench.catalogue.objects import ExtensionRow, SchemaRow, TableRow
from graph.connections.catalogue.extensions import (
    DatabaseExtension,
    ExtensionByKey,
    ExtensionPages,
)
from graph.connections.catalogue.loaders import PageKey, ReadOnlyRisks
from graph.connections.catalogue.schemas import (
    DatabaseSchema,
    EverySchemaPages,
    SchemaByKey,
    SchemaPages,
    TableName,
)
from graph.connections.catalogue.tables import DatabaseTable, TableByKey
from graph.connections.completion import CompletionFields
from graph.connections.loaders import ConnectionById, IsOpen, PreferenceByName
from graph.connections.read_only_risks import ReadOnlyRisk
from graph.context import Info
from graph.errors import ErrorCode
from graph.kit.fields import argument, attribute, field, graphql_enum
from graph.kit.ids import ID_DESCRIPTION, NameKey, Node, named_id, node
from graph.kit.paging import Connection, Listing, paged, paged_by
from graph.kit.scalars import Json
from graph.kit.scopes import WORKBENCH

SchemaName = Annotated[str, argument("Name of the schema, as the catalogue has it: unquoted.")]

graphql_enum(
    "How TLS is used, with the meaning of libpq's `sslmode`. A server that requests the password "
    "in clear text gets it only under `VERIFY_FULL`.",
    DISABLE="Never uses TLS.",
    PREFER="Uses TLS if the server supports it. The certificate is not verified.",
    REQUIRE="Requires TLS. The certificate is verified only if `sslRootCertificate` is set.",
    VERIFY_CA="Requires TLS and a certificate issued by a root in `sslRootCertificate`, which must "
    "be set.",
    VERIFY_FULL="Requires TLS and a certificate for `host` issued by a root in "
    "`sslRootCertificate`, or by a public certificate authority if that is null.",
)(SslMode)

graphql_enum(
    "How the user authenticates to an SSH server.",
    PASSWORD="Authenticates with a password.",  # noqa: S106 - a description
    PRIVATE_KEY="Authenticates with a private key and its passphrase, if it has one.",
    AGENT="Authenticates with the SSH agent of the operating-system account that runs Howdah. "
    "Rejected unless Howdah runs on the user's own machine.",
)(SshAuthMethod)


@graphql_enum(
    "Where a server stores connection secrets.",
    KEYCHAIN="Secrets are stored in the operating system's keychain. Only for the local admin of a "
    "development server.",
    ENCRYPTED="Secrets are stored in Howdah's database, encrypted with a key kept outside it.",
)
class CredentialStoreKind(StrEnum):
    KEYCHAIN = "KEYCHAIN"
    ENCRYPTED = "ENCRYPTED"


@strawberry.type(
    description="SSH tunnel of a `DatabaseConnection`. Its secrets are never returned."
)
class SshTunnel:
    @field("Host name or IP address of the SSH server.")
    def host(root: strawberry.Parent[ConnectionRow]) -> str:
        return root.ssh_host or ""

    @field("TCP port of the SSH server.")
    def port(root: strawberry.Parent[ConnectionRow]) -> int:
        return root.ssh_port or 22

    @field("User that logs in on the SSH server.")
    def username(root: strawberry.Parent[ConnectionRow]) -> str:
        return root.ssh_username or ""

    @field("How the user authenticates to the SSH server.", type=SshAuthMethod)
    def auth_method(root: strawberry.Parent[ConnectionRow]) -> str | None:
        return root.ssh_auth_method

    @field(
        "Fingerprint that the SSH server's host key must have, such as `SHA256:...`. Null until "
        "the user has confirmed one."
    )
    def host_key_fingerprint(root: strawberry.Parent[ConnectionRow]) -> str | None:
        return root.ssh_host_key_fingerprint


@strawberry.type(
    description="A saved connection to one of the viewer's PostgreSQL databases, created with "
    "`saveConnection`. Its secrets are never returned."
)
@node("conn", row=ConnectionRow, loader=ConnectionById, scopes=WORKBENCH.read)
class DatabaseConnection(CompletionFields, Node):
    name: str = attribute("Display name.")
    host: str = attribute("Host name or IP address of the PostgreSQL server.")
    port: int = attribute("TCP port of the PostgreSQL server.")
    database: str = attribute("Name of the database.")
    username: str = attribute("PostgreSQL role that logs in.")
    ssl_root_certificate: str | None = attribute(
        "Root certificates that the server is verified with, as PEM text. Null if none are set.",
        long="ssl_root_certificate",
    )
    read_only: bool = attribute("If true, every statement runs in a read-only transaction.")
    statement_timeout_ms: int | None = attribute(
        "Default statement timeout in milliseconds; `timeoutMs` of `executeQuery` overrides it. "
        "Null uses the server default."
    )
    has_stored_password: bool = attribute("True if a password is stored, in encrypted form.")
    has_stored_ssh_secret: bool = attribute(
        "True if a password or a private key for `sshTunnel` is stored, in encrypted form."
    )
    created_at: datetime = attribute("Time the connection was created.")
    updated_at: datetime = attribute("Time of the last change.")
    last_connected_at: datetime | None = attribute(
        "Time `connect` last succeeded. Null if it never did."
    )
    version: int = attribute(
        "Increases with every change. Pass it as `expectedVersion` to detect concurrent updates."
    )
    ssl_mode: SslMode = attribute("How TLS is used.")

    @field(
        "SSH tunnel used to reach the database. Null means a direct connection.",
        type=SshTunnel | None,
    )
    def ssh_tunnel(root: strawberry.Parent[ConnectionRow]) -> ConnectionRow | None:
        return root if root.ssh_host else None

    @field(
        "True if the connection is open: `connect` or its first use has opened it, and neither "
        "`disconnect` nor a change of its destination has closed it since. The same at every "
        "replica of the server."
    )
    async def is_connected(root: strawberry.Parent[ConnectionRow], info: Info) -> bool:
        if info.context.services.workbench.has_pool(info.context.owner, root):
            return True
        return await IsOpen.of(info.context).load(root.id) or False

    @field(
        "Rights with which the role could make lasting changes in a `readOnly` run, at most 50. "
        "Empty if it has none. Opens the connection if necessary. Null if the database failed to "
        "answer.",
        type=list[ReadOnlyRisk] | None,
    )
    async def read_only_risks(
        root: strawberry.Parent[ConnectionRow], info: Info
    ) -> list[ReadOnlyRiskRow] | None:
        return await ReadOnlyRisks.of(info.context).load(root.id)

    @field(
        "Schemas of the database, ordered by name. Opens the connection if necessary. Null if the "
        "database failed to answer; the code is `TIMEOUT` if it took longer than 5 seconds.",
        type=Connection[DatabaseSchema] | None,
    )
    @paged
    async def schemas(
        root: strawberry.Parent[ConnectionRow],
        info: Info,
        window: Window,
        *,
        include_system: Annotated[
            bool, argument("If true, includes the schemas of PostgreSQL: `pg_catalog` and others.")
        ] = False,
    ) -> Listing:
        loader = (EverySchemaPages if include_system else SchemaPages).of(info.context)
        key = PageKey(root.id, DATABASE, window)
        page: Page[SchemaRow] | None = await loader.load(key)
        assert page is not None  # noqa: S101 - the loader returns a page, which may be empty

        async def count() -> int:
            return await loader.load(key._replace(window=None)) or 0

        return Listing(page, count)

    @field(
        "Fetches a schema of the database by name; system schemas are found too. Opens the "
        "connection if necessary. Null if it does not exist or the database failed to answer.",
        type=DatabaseSchema | None,
    )
    async def schema(
        root: strawberry.Parent[ConnectionRow], info: Info, name: SchemaName
    ) -> SchemaRow | None:
        found: SchemaRow | None = await SchemaByKey.of(info.context).load(NameKey(root.id, (name,)))
        return found

    @field(
        "Fetches a table, view, materialized view or foreign table of the database by name. Opens "
        "the connection if necessary. Null if it does not exist or the database failed to answer.",
        type=DatabaseTable | None,
    )
    async def table(
        root: strawberry.Parent[ConnectionRow],
        info: Info,
        schema_name: SchemaName,
        table_name: TableName,
    ) -> TableRow | None:
        key = NameKey(root.id, (schema_name, table_name))
        found: TableRow | None = await TableByKey.of(info.context).load(key)
        return found

    @field(
        "Extensions that are installed in the database, ordered by name. Opens the connection if "
        "necessary. Null if the database failed to answer.",
        type=Connection[DatabaseExtension] | None,
    )
    @paged_by(ExtensionPages)
    def extensions(root: strawberry.Parent[ConnectionRow], window: Window) -> PageKey:
        return PageKey(root.id, DATABASE, window)

    @field(
        "Fetches an extension of the database by name. Opens the connection if necessary. Null if "
        "it is not installed or the database failed to answer.",
        type=DatabaseExtension | None,
    )
    async def extension(
        root: strawberry.Parent[ConnectionRow],
        info: Info,
        name: Annotated[str, argument("Name of the extension.")],
    ) -> ExtensionRow | None:
        found: ExtensionRow | None = await ExtensionByKey.of(info.context).load(
            NameKey(root.id, (name,))
        )
        return found


@strawberry.type(
    description="An open connection, with the state of its pool at the server that answers this "
    "request. The pool closes its connections after 60 seconds without use and opens them again "
    "when they are needed."
)
class ActiveConnection:
    server_version: str = attribute("Version that the PostgreSQL server reports.")
    tls: str | None = attribute(
        "TLS protocol and cipher, such as `TLSv1.3 TLS_AES_256_GCM_SHA384`. Null without TLS."
    )
    connected_at: datetime = attribute("Time the connection was opened.")
    pool_size: int = attribute(
        "Number of connections in the pool: the sum of `idle` and `busy`. 0 if only other replicas "
        "of the server have used the connection."
    )
    idle: int = attribute("Number of connections in the pool that are not in use.")
    busy: int = attribute("Number of connections in the pool that are in use or being opened.")

    @field("Saved connection that is open.", type="DatabaseConnection")
    async def connection(root: strawberry.Parent[ActivePool], info: Info) -> ConnectionRow | None:
        return await ConnectionById.of(info.context).load(root.connection_id)


@strawberry.type(description="Reason why a connection test failed.")
class ConnectionProblem:
    code: str = attribute(
        "Kind of the problem, as in `extensions.code` of GraphQL errors.", type=ErrorCode
    )
    message: str = attribute("What happened.")
    hint: str = attribute("What to do about it.")
    field: str | None = attribute(
        "Path of the input field that caused the failure, such as `password` or "
        "`sshTunnel.hostKeyFingerprint`. Null if no single field did."
    )
    host_key_fingerprint: str | None = attribute(
        "Fingerprint of an SSH server's host key that the user has to confirm. Null for every "
        "other problem."
    )


@strawberry.type(
    description="Payload of `testConnection`. A failed attempt is returned in `error`, not as a "
    "GraphQL error."
)
class TestConnectionPayload:
    server_version: str | None = attribute(
        "Version that the PostgreSQL server reports. Null if the test failed."
    )
    latency_ms: float | None = attribute(
        "Time to connect, in milliseconds. Null if the test failed."
    )
    tls: str | None = attribute(
        "TLS protocol and cipher, such as `TLSv1.3 TLS_AES_256_GCM_SHA384`. Null without TLS or "
        "if the test failed."
    )

    @field("True if the connection succeeded.")
    def ok(root: strawberry.Parent[ProbeResult]) -> bool:
        return root.problem is None

    @field("Reason for the failure. Null if the test succeeded.", type=ConnectionProblem | None)
    def error(root: strawberry.Parent[ProbeResult]) -> Problem | None:
        return root.problem


@strawberry.type(
    description="A JSON value that a client stores for the viewer, such as an editor layout. Its "
    "ID stands for the viewer and the key: a preference that is deleted and set again has the same "
    "ID."
)
@node("preference", row=PreferenceRow, loader=PreferenceByName, scopes=WORKBENCH.read, names=1)
class Preference(Node):
    key: str = attribute("Key of the preference, unique for the viewer.")
    created_at: datetime = attribute("Time the preference was created.")
    updated_at: datetime = attribute("Time the preference was last set.")
    version: int = attribute(
        "Increases with every change. Pass it as `expectedVersion` to detect concurrent updates."
    )

    @field(ID_DESCRIPTION)
    def id(root: strawberry.Parent[PreferenceRow]) -> strawberry.ID:
        return preference_id(root.owner_id, root.key)

    @field("The stored JSON value.", long="value")
    def value(root: strawberry.Parent[PreferenceRow]) -> Json:
        return Json(msgspec.Raw(root.value.encode()))


def preference_id(owner_id: UUID, key: str) -> strawberry.ID:
    return named_id("preference", NameKey(owner_id, (key,)))


@strawberry.type(
    description="Where this server stores new connection secrets. Secrets stored earlier stay "
    "where they are."
)
class CredentialStore:
    kind: CredentialStoreKind = attribute("Kind of the store.")
    keychain_available: bool = attribute("True if the operating system's keychain is available.")

"""Saved connections, open ones, and preferences as clients see them."""

from datetime import datetime
from enum import Enum

import strawberry

from db.connections import ConnectionRow, PreferenceRow
from db.workbench import ActivePool, Problem, Trial
from graph.connections.catalogue import DatabaseSchema, SchemaLoader
from graph.connections.loaders import ConnectionById
from graph.context import Info
from graph.kit.fields import choice, field, plain
from graph.kit.ids import Node, node
from graph.kit.paging import After, Before, Connection, First, Last, Listing, window
from graph.kit.scalars import Json


@strawberry.enum(description="How TLS is used, as libpq means it.")
class SslMode(Enum):
    """As it stands in the table too."""

    DISABLE = choice("DISABLE", "Never.")
    PREFER = choice("PREFER", "Where the server offers it; proves nothing.")
    REQUIRE = choice(
        "REQUIRE", "Always. The certificate is verified only when `sslRootCertificate` is given."
    )
    VERIFY_CA = choice("VERIFY_CA", "Always, with a certificate of the given authority.")
    VERIFY_FULL = choice(
        "VERIFY_FULL", "That, and for this host name; without an authority, the public ones count."
    )


@strawberry.enum(description="How an SSH server is logged in to.")
class SshAuthMethod(Enum):
    """As it stands in the table too."""

    PASSWORD = choice("PASSWORD", "With a password.")
    PRIVATE_KEY = choice("PRIVATE_KEY", "With a private key, and its passphrase if it has one.")
    AGENT = choice(
        "AGENT", "With the SSH agent of the account Howdah runs under; on one's own machine only."
    )


@strawberry.enum(description="Where secrets are kept.")
class CredentialStoreKind(Enum):
    """Of this server."""

    KEYCHAIN = choice("KEYCHAIN", "In the keychain of the operating system.")
    ENCRYPTED = choice("ENCRYPTED", "In Howdah's database, sealed with a key that is not in it.")


@strawberry.type(description="The way through an SSH server.")
class SshTunnel:
    """Read from a ConnectionRow."""

    @field("The SSH server.")
    def host(root: strawberry.Parent[ConnectionRow]) -> str:
        return root.ssh_host or ""

    @field("Its port.")
    def port(root: strawberry.Parent[ConnectionRow]) -> int:
        return root.ssh_port or 22

    @field("Who logs in.")
    def username(root: strawberry.Parent[ConnectionRow]) -> str:
        return root.ssh_username or ""

    @field("How.")
    def auth_method(root: strawberry.Parent[ConnectionRow]) -> SshAuthMethod:
        return SshAuthMethod(root.ssh_auth_method)

    @field("The key the server must have; null until it was confirmed.")
    def host_key_fingerprint(root: strawberry.Parent[ConnectionRow]) -> str | None:
        return root.ssh_host_key_fingerprint


@strawberry.type(description="A saved connection to a database of mine. Its secrets are not shown.")
@node("conn", row=ConnectionRow, loader=ConnectionById)
class DatabaseConnection(Node):
    """Read from a ConnectionRow."""

    name: str = plain("What I call it.")
    host: str = plain("The server: a name or an address.")
    port: int = plain("Its port.")
    database: str = plain("The database on it.")
    username: str = plain("Who logs in.")
    ssl_root_certificate: str | None = plain("The authority of the server's certificate, as PEM.")
    read_only: bool = plain("Whether its statements may only read.")
    statement_timeout_ms: int | None = plain("How long a statement may take unless told otherwise.")
    has_stored_password: bool = plain("Whether its password is kept, sealed.")
    created_at: datetime = plain("When it was saved first.")
    updated_at: datetime = plain("When it last changed.")
    last_connected_at: datetime | None = plain("When it was last opened with success.")
    version: int = plain("Grows with every change; see `expectedVersion`.")

    @field("How TLS is used.")
    def ssl_mode(root: strawberry.Parent[ConnectionRow]) -> SslMode:
        return SslMode(root.ssl_mode)

    @field("The way to it through an SSH server; null for the straight one.", type=SshTunnel | None)
    def ssh_tunnel(root: strawberry.Parent[ConnectionRow]) -> ConnectionRow | None:
        return root if root.ssh_host else None

    @field("Whether it is open at this server.")
    def is_connected(root: strawberry.Parent[ConnectionRow], info: Info) -> bool:
        return info.context.services.workbench.is_connected(info.context.owner, root.id)

    @field("What is in it: opens it if need be.", type=Connection[DatabaseSchema])
    async def schemas(
        root: strawberry.Parent[ConnectionRow],
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Listing:
        asked = window(info.context, first=first, after=after, last=last, before=before)
        return await SchemaLoader.listing(info.context, root.id, asked)


@strawberry.type(description="A connection that is open at this server, and its figures now.")
class ActiveConnection:
    """Read from an ActivePool."""

    server_version: str = plain("What the server says its version is.")
    tls: str | None = plain("Protocol and cipher, `TLSv1.3 TLS_AES_256_GCM_SHA384`; null in clear.")
    connected_at: datetime = plain("When it was opened.")
    pool_size: int = plain("How many connections it has open to the database.")
    idle: int = plain("How many of them wait for a statement.")
    busy: int = plain("How many run one, or are being opened.")

    @field("Which one.", type="DatabaseConnection")
    async def connection(root: strawberry.Parent[ActivePool], info: Info) -> ConnectionRow | None:
        return await ConnectionById.of(info.context).load(root.connection_id)


@strawberry.type(description="Why a connection did not come about.")
class ConnectionProblem:
    """Read from a Problem."""

    code: str = plain("Of the list that errors have in `extensions.code`.")
    message: str = plain("What happened.")
    hint: str = plain("What to do about it.")
    field: str | None = plain("Which field of the input it is about.")
    host_key_fingerprint: str | None = plain("The key of an SSH server that is to be confirmed.")


@strawberry.type(description="What came of trying a connection out.")
class TestConnectionPayload:
    """Read from a Trial."""

    server_version: str | None = plain("What the server says its version is.")
    latency_ms: float | None = plain("How long connecting took.")
    tls: str | None = plain("Protocol and cipher; null in clear text.")

    @field("Whether it went well.")
    def ok(root: strawberry.Parent[Trial]) -> bool:
        return root.problem is None

    @field("Why it failed; null when it went well.", type=ConnectionProblem | None)
    def error(root: strawberry.Parent[Trial]) -> Problem | None:
        return root.problem


@strawberry.type(description="Something an editor wants to find again.")
class Preference:
    """Read from a PreferenceRow."""

    key: str = plain("Its name.")
    created_at: datetime = plain("When it was set first.")
    updated_at: datetime = plain("When it was last set.")
    version: int = plain("Grows with every change; see `expectedVersion`.")

    @field("Any JSON.")
    def value(root: strawberry.Parent[PreferenceRow]) -> Json:
        return Json(root.opened)


@strawberry.type(description="Where this server keeps the secrets of connections.")
class CredentialStore:
    """Of new ones; older ones stay where they are."""

    kind: CredentialStoreKind = plain("Where.")
    keychain_available: bool = plain("Whether a keychain answers.")

"""Inputs and payloads of the mutations on connections and preferences."""

from typing import Any

import strawberry

from db.connections import ConnectionRow, PreferenceRow, SshAuthMethod, SslMode
from db.workbench import ActivePool
from graph.connections.types import (
    ActiveConnection,
    DatabaseConnection,
    Preference,
)
from graph.kit.fields import (
    attribute,
    optional,
    provided_fields,
    redacted_repr,
    retry_key,
    version_guard,
)
from graph.kit.scalars import Json

_HOST = "Host name or IP address of the PostgreSQL server, without the port."
_PORT = "TCP port of the PostgreSQL server, 1 to 65535. A new connection defaults to 5432."
_DATABASE = "Name of the database, up to 200 characters."
_USERNAME = "PostgreSQL role to log in as, up to 200 characters."
_SSL_MODE = "How TLS is used. A new connection defaults to `PREFER`."
_SSL_ROOT_CERTIFICATE = (
    "Root certificates to verify the server with, as PEM text of up to 65,536 characters. Null "
    "removes them. Required by `VERIFY_CA`."
)
_SSH_TUNNEL = "SSH tunnel used to reach the database. Null means a direct connection."
_IGNORED = "Ignored by `testConnection`."


@strawberry.input(
    description="An SSH tunnel. Replaces the stored tunnel as a whole, except for the secrets of "
    "the same `authMethod`, which are kept if they are omitted. Stored secrets stay in use only "
    "while `host`, `port`, `username` and `hostKeyFingerprint` are unchanged; otherwise they must "
    "be entered again."
)
class SshTunnelInput:
    __repr__ = redacted_repr

    host: str = attribute("Host name or IP address of the SSH server, without the port.")
    port: int = optional("TCP port of the SSH server, 1 to 65535. Defaults to 22.", default=22)
    username: str = attribute("User to log in as on the SSH server, up to 200 characters.")
    auth_method: SshAuthMethod = attribute("How the server authenticates the user.")
    password: str | None = optional(
        "Password for `PASSWORD`, up to 1,000 characters. Stored encrypted and never returned. "
        "Omit it to keep the stored password; null removes it."
    )
    private_key: str | None = optional(
        "Private key for `PRIVATE_KEY`, as PEM text of up to 16,384 characters: at most 64 rounds "
        "of key derivation, and 8192 bits of RSA. Stored encrypted and never returned. Omit it to "
        "keep the stored key."
    )
    passphrase: str | None = optional(
        "Passphrase of `privateKey`, up to 1,000 characters. Read only together with `privateKey`, "
        "to decrypt it once; it is not stored."
    )
    host_key_fingerprint: str | None = optional(
        "Fingerprint that the SSH server's host key must have, such as `SHA256:...`. Without it "
        "the first attempt fails and returns the server's fingerprint for the user to confirm."
    )


@strawberry.input(
    description="Fields of the connection to create or update. Omitted fields of an existing "
    "connection keep their values."
)
class SaveConnectionInput:
    __repr__ = redacted_repr

    id: strawberry.ID | None = optional(
        "ID of the connection to update. Omit it to create a connection."
    )
    name: str | None = optional("Display name, 1 to 100 characters. Required for a new connection.")
    host: str | None = optional(f"{_HOST} Required for a new connection.")
    port: int | None = optional(_PORT)
    database: str | None = optional(f"{_DATABASE} Required for a new connection.")
    username: str | None = optional(f"{_USERNAME} Required for a new connection.")
    password: str | None = optional(
        "Password of `username`, up to 10,000 characters. Stored encrypted unless `savePassword` "
        "is false. Null removes the stored password. If one is stored, it is required again when "
        "`host`, `port`, `username`, `sslMode`, `sslRootCertificate` or the SSH server of "
        "`sshTunnel` changes."
    )
    save_password: bool | None = optional(
        "If false, `password` is not stored, and the stored password is removed. Defaults to true."
    )
    ssl_mode: SslMode | None = optional(_SSL_MODE)
    ssl_root_certificate: str | None = optional(_SSL_ROOT_CERTIFICATE)
    ssh_tunnel: SshTunnelInput | None = optional(_SSH_TUNNEL)
    read_only: bool | None = optional(
        "If true, every statement runs in a read-only transaction. A new connection defaults to "
        "false. Cannot be null."
    )
    statement_timeout_ms: int | None = optional(
        "Default statement timeout in milliseconds, 1 to 3,600,000. Null uses the server default."
    )
    expected_version: int | None = version_guard("connection", more="Ignored without `id`.")
    idempotency_key: str | None = retry_key(
        "the connection that the first saved", more="Ignored with `id`."
    )


@strawberry.input(
    description="Connection to test: a saved connection (`id`), an unsaved one (all fields), or "
    "a saved one with changes (`id` and the changed fields)."
)
class TestConnectionInput:
    """Validated by `db.connections.parse_draft`; nothing is saved."""

    __repr__ = redacted_repr

    id: strawberry.ID | None = optional(
        "ID of a saved connection. Other fields replace its values for this test. Omit it to test "
        "an unsaved connection, which requires `host`, `database` and `username`."
    )
    name: str | None = optional(_IGNORED)
    host: str | None = optional(_HOST)
    port: int | None = optional(_PORT)
    database: str | None = optional(_DATABASE)
    username: str | None = optional(_USERNAME)
    password: str | None = optional(
        "Password of `username`, up to 10,000 characters. Omit it to use the stored password, "
        "which is possible only while `host`, `port`, `username`, `sslMode`, `sslRootCertificate` "
        "and the SSH server are unchanged; null tests without a password."
    )
    save_password: bool | None = optional(_IGNORED)
    ssl_mode: SslMode | None = optional(_SSL_MODE)
    ssl_root_certificate: str | None = optional(_SSL_ROOT_CERTIFICATE)
    ssh_tunnel: SshTunnelInput | None = optional(_SSH_TUNNEL)
    read_only: bool | None = optional(_IGNORED)
    statement_timeout_ms: int | None = optional(_IGNORED)


@strawberry.input(
    description="Connection to open, with passwords that are not saved with it. If the database "
    "accepts them, they are kept in encrypted form until `disconnect`, for at most 12 hours, and "
    "are used only for the destination they were entered for."
)
class ConnectInput:
    __repr__ = redacted_repr

    id: strawberry.ID = attribute("ID of the connection to open.")
    password: str | None = optional(
        "Password of the database user. Omit it to use the stored password."
    )
    ssh_password: str | None = optional(
        "Password of the SSH user. Omit it to use the stored password."
    )
    expected_version: int | None = version_guard(
        "connection",
        more="Pass it with a password, so that the password is sent only to the destination that "
        "the user saw.",
    )


@strawberry.input(description="Connection to close.")
class DisconnectInput:
    id: strawberry.ID = attribute("ID of the connection to close.")


@strawberry.input(description="Connection whose catalogue is read again.")
class RefreshCatalogueInput:
    connection_id: strawberry.ID = attribute("ID of the connection.")


@strawberry.input(description="Connection to delete.")
class DeleteConnectionInput:
    id: strawberry.ID = attribute("ID of the connection to delete.")


@strawberry.input(description="Preference to create or replace.")
class SetPreferenceInput:
    key: str = attribute(
        "Key of the preference: 1 to 200 ASCII letters, digits and the characters `_ . : / -`, "
        "starting with a letter or a digit."
    )
    value: Json = attribute("Any JSON value, up to 65,536 characters when serialized.")
    expected_version: int | None = version_guard(
        "preference", more="Pass 0 to require that the preference does not exist yet."
    )


@strawberry.input(description="Preference to delete.")
class DeletePreferenceInput:
    key: str = attribute("Key of the preference to delete.")


@strawberry.type(description="Payload of `refreshCatalogue`.")
class RefreshCataloguePayload:
    connection: ConnectionRow = attribute(
        "The connection. What is selected of its catalogue is read anew.", type=DatabaseConnection
    )


@strawberry.type(description="Payload of `saveConnection`.")
class SaveConnectionPayload:
    connection: ConnectionRow = attribute("The saved connection.", type=DatabaseConnection)


@strawberry.type(description="Payload of `deleteConnection`.")
class DeleteConnectionPayload:
    deleted_connection_id: strawberry.ID = attribute("ID of the deleted connection.")


@strawberry.type(description="Payload of `connect`.")
class ConnectPayload:
    connection: ConnectionRow = attribute("The opened connection.", type=DatabaseConnection)
    active_connection: ActivePool = attribute(
        "State of the connection's pool at this server.", type=ActiveConnection
    )


@strawberry.type(description="Payload of `disconnect`.")
class DisconnectPayload:
    connection: ConnectionRow = attribute("The closed connection.", type=DatabaseConnection)


@strawberry.type(description="Payload of `setPreference`.")
class SetPreferencePayload:
    preference: PreferenceRow = attribute("The stored preference.", type=Preference)


@strawberry.type(description="Payload of `deletePreference`.")
class DeletePreferencePayload:
    deleted_preference_id: strawberry.ID = attribute("ID of the deleted preference.")
    deleted_preference_key: str = attribute("Key of the deleted preference.")


def form_fields(input: Any) -> dict[str, Any]:
    """Returns the provided fields of the connection, as `db.connections.parse_draft` takes them."""
    fields = {name: _to_plain(value) for name, value in provided_fields(input).items()}
    for name in ("id", "expected_version", "idempotency_key"):
        fields.pop(name, None)
    return fields


def _to_plain(value: Any) -> Any:
    if isinstance(value, SshTunnelInput):
        return {name: _to_plain(inner) for name, inner in provided_fields(value).items()}
    return value

"""What mutations of connections take and answer."""

from typing import Any

import strawberry

from db.connections import ConnectionRow, PreferenceRow
from db.workbench import ActivePool
from graph.connections.types import (
    ActiveConnection,
    DatabaseConnection,
    Preference,
    SshAuthMethod,
    SslMode,
)
from graph.kit.fields import attribute, optional, provided_fields
from graph.kit.scalars import Json

_IF_STILL = "Change it only if this is still its `version`."


@strawberry.input(
    description="The SSH server used to reach the database. Replaces the former tunnel as a whole. "
    "Its stored secrets stay in use only while `host`, `port`, `username` and `hostKeyFingerprint` "
    "are unchanged; otherwise they must be entered again."
)
class SshTunnelInput:
    """Checked in db.connections."""

    host: str = attribute("The SSH server.")
    port: int = optional("Its port.", default=22)
    username: str = attribute("Who logs in.")
    auth_method: SshAuthMethod = attribute("How.")
    password: str | None = optional(
        "For PASSWORD. Stored sealed, never shown. Omit it to keep the stored one for the same SSH "
        "server; null removes it."
    )
    private_key: str | None = optional(
        "For PRIVATE_KEY: the PEM text. Stored sealed, never shown. Omit it to keep the stored one "
        "for the same SSH server."
    )
    passphrase: str | None = optional(
        "Opens `privateKey` and is sent together with it. Stored sealed, never shown."
    )
    host_key_fingerprint: str | None = optional(
        "The key the server must have, `SHA256:...`; the first attempt shows it."
    )


@strawberry.input(description="A connection to save: without an id a new one; absent stays.")
class SaveConnectionInput:
    """Checked in db.connections."""

    id: strawberry.ID | None = optional("Which one to change; absent makes a new one.")
    name: str | None = optional("What I call it: 1 to 100 characters.")
    host: str | None = optional("The server: a name or an address.")
    port: int | None = optional("Its port; 5432 unless given.")
    database: str | None = optional("The database on it.")
    username: str | None = optional("Who logs in.")
    password: str | None = optional(
        "Stored only with `savePassword`, or in place of a stored one; null removes a stored one. "
        "Required again, if one is stored, when `host`, `port`, `username`, `sslMode`, "
        "`sslRootCertificate` or the SSH server of `sshTunnel` changes."
    )
    save_password: bool | None = optional("Whether the password is kept, sealed; false removes it.")
    ssl_mode: SslMode | None = optional("How TLS is used; PREFER unless given.")
    ssl_root_certificate: str | None = optional("The authority of the certificate, as PEM text.")
    ssh_tunnel: SshTunnelInput | None = optional("The way through an SSH server; null for none.")
    read_only: bool | None = optional("Whether its statements may only read.")
    statement_timeout_ms: int | None = optional("How long a statement may take; null for no word.")
    expected_version: int | None = optional(_IF_STILL)
    idempotency_key: str | None = optional("Makes a retry safe: one key, one thing, for 24 hours.")


@strawberry.input(description="A saved connection by its id, or a whole one, or changes to one.")
class TestConnectionInput:
    """Checked in db.connections; nothing of it is saved."""

    id: strawberry.ID | None = optional(
        "A saved connection to test. Other fields are tested in place of its own; a stored secret "
        "is used only if the destination it was saved for is unchanged."
    )
    name: str | None = optional("RepositoryFactory no account here.")
    host: str | None = optional("The server: a name or an address.")
    port: int | None = optional("Its port; 5432 unless given.")
    database: str | None = optional("The database on it.")
    username: str | None = optional("Who logs in.")
    password: str | None = optional(
        "The password to test. Omit it to use the stored one, which is possible only while `host`, "
        "`port`, `username`, `sslMode`, `sslRootCertificate` and the SSH server are unchanged; "
        "null tests without a password."
    )
    save_password: bool | None = optional("RepositoryFactory no account here.")
    ssl_mode: SslMode | None = optional("How TLS is used; PREFER unless given.")
    ssl_root_certificate: str | None = optional("The authority of the certificate, as PEM text.")
    ssh_tunnel: SshTunnelInput | None = optional("The way through an SSH server; null for none.")
    read_only: bool | None = optional("RepositoryFactory no account here.")
    statement_timeout_ms: int | None = optional("RepositoryFactory no account here.")


@strawberry.input(description="A connection to open.")
class ConnectInput:
    """What is typed here lives as long as the connection is open."""

    id: strawberry.ID = attribute("Which one.")
    password: str | None = optional("Its password, where none is stored or another is wanted.")
    ssh_password: str | None = optional("The SSH server's, likewise.")


@strawberry.input(description="A connection to close.")
class DisconnectInput:
    """Names it."""

    id: strawberry.ID = attribute("Which one.")


@strawberry.input(description="A connection to delete.")
class DeleteConnectionInput:
    """Names it."""

    id: strawberry.ID = attribute("Which one.")


@strawberry.input(description="A preference to set.")
class SetPreferenceInput:
    """Checked in db.connections."""

    key: str = attribute("1 to 200 letters, digits and the signs _ . : / -")
    value: Json = attribute("Any JSON, up to 65,536 characters.")
    expected_version: int | None = optional(f"{_IF_STILL} 0 for one that is not there yet.")


@strawberry.input(description="A preference to delete.")
class DeletePreferenceInput:
    """Names it."""

    key: str = attribute("Which one.")


@strawberry.type(description="The connection that was saved.")
class SaveConnectionPayload:
    """Holds it."""

    connection: ConnectionRow = attribute("The connection as it is now.", type=DatabaseConnection)


@strawberry.type(description="The connection that was deleted.")
class DeleteConnectionPayload:
    """Names it."""

    deleted_connection_id: strawberry.ID = attribute("The id it had.")


@strawberry.type(description="The connection that was opened.")
class ConnectPayload:
    """Holds it, and its figures."""

    connection: ConnectionRow = attribute("The connection as it is now.", type=DatabaseConnection)
    active_connection: ActivePool = attribute("What is open of it.", type=ActiveConnection)


@strawberry.type(description="The connection that was closed.")
class DisconnectPayload:
    """Holds it."""

    connection: ConnectionRow = attribute("The connection as it is now.", type=DatabaseConnection)


@strawberry.type(description="The preference that was set.")
class SetPreferencePayload:
    """Holds it."""

    preference: PreferenceRow = attribute("The preference as it is now.", type=Preference)


@strawberry.type(description="The preference that was deleted.")
class DeletePreferencePayload:
    """Names it."""

    deleted_preference_key: str = attribute("The key it had.")


def typed(input: Any) -> dict[str, Any]:
    """What was typed into the form, as `db.connections.draft` takes it."""
    fields = {name: _plain(value) for name, value in provided_fields(input).items()}
    for name in ("id", "expected_version", "idempotency_key"):
        fields.pop(name, None)
    return fields


def _plain(value: Any) -> Any:
    if isinstance(value, SslMode | SshAuthMethod):
        return value.value
    if isinstance(value, SshTunnelInput):
        return {name: _plain(inner) for name, inner in provided_fields(value).items()}
    return value

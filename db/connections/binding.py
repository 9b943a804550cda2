"""Binds each stored secret to the destination it was saved for.

Secrets are write-only even for their owner: without this rule a stolen session could send a stored
password to another server by changing the host. The rule is checked when a connection is saved or
tested. A digest of the destination is also part of each seal, so the secrets of a row that was
changed by other means cannot be opened.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from db.errors import BadInput
from db.kit.base import OwnerId
from db.security.vault import SecretLocation

TABLE = "database_connections"
OPEN_TABLE = "open_connections"

TUNNEL = ("ssh_host", "ssh_port", "ssh_username", "ssh_host_key_fingerprint")
# The database password is also bound to the tunnel: the SSH server chooses which database server
# answers, and sees the traffic if TLS is off. The database name is excluded, because it only
# selects a database of the same server and user.
DATABASE = ("host", "port", "username", "ssl_mode", "ssl_root_certificate", *TUNNEL)
DESTINATION = (*DATABASE, "database", "ssh_auth_method")
"""The columns that identify a destination. Entered secrets are used for no other destination."""

BOUND_TO: Mapping[str, tuple[str, ...]] = {
    "password": DATABASE,
    "ssh_password": TUNNEL,
    "ssh_private_key": TUNNEL,
}
"""The columns that each secret is bound to, by its name."""

_FIELDS: Mapping[str, str] = {
    "host": "host",
    "port": "port",
    "username": "username",
    "ssl_mode": "sslMode",
    "ssl_root_certificate": "sslRootCertificate",
    "ssh_host": "sshTunnel.host",
    "ssh_port": "sshTunnel.port",
    "ssh_username": "sshTunnel.username",
    "ssh_host_key_fingerprint": "sshTunnel.hostKeyFingerprint",
}
_PROMPTS: Mapping[str, tuple[str, str, str]] = {
    "password": (
        "password",
        "password",
        "Enter the password again; to save the connection without one, pass `savePassword: false`.",
    ),
    "ssh_password": (
        "SSH password",
        "sshTunnel.password",
        "Enter the SSH password again, or pass null to remove it.",
    ),
    "ssh_private_key": (
        "SSH private key",
        "sshTunnel.privateKey",
        "Paste the private key again, with its passphrase if it has one.",
    ),
}


class SecretRequired(BadInput):
    """A stored secret is bound to another destination and must be entered again."""


def check_binding(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    *,
    stored: Collection[str],
    entered: Collection[str],
) -> None:
    """Compares the columns of a connection before and after a change.

    `stored` names the secrets in its row, `entered` those that the change replaces or removes.

    Raises:
        SecretRequired: a stored secret would stay in use for a destination that has changed.
    """
    for secret, columns in BOUND_TO.items():
        if secret not in stored or secret in entered:
            continue
        changed = [column for column in columns if before[column] != after[column]]
        if changed:
            raise _secret_required(secret, changed)


def secret_locations(
    values: Mapping[str, Any], *, row: UUID, owner: OwnerId
) -> dict[str, SecretLocation]:
    """Where each secret of a connection with these columns is sealed, by its name."""
    return {
        secret: SecretLocation(
            TABLE, row, owner, f"sealed_{secret}", bound_to=_digest(values, columns)
        )
        for secret, columns in BOUND_TO.items()
    }


def typed_locations(
    values: Mapping[str, Any], *, row: UUID, owner: OwnerId
) -> dict[str, SecretLocation]:
    """Where each secret that was typed for a connection with these columns is sealed."""
    return {
        name: location._replace(table=OPEN_TABLE, is_short_lived=True)
        for name, location in secret_locations(values, row=row, owner=owner).items()
    }


def _digest(values: Mapping[str, Any], columns: Collection[str]) -> str:
    destination = json.dumps({column: values[column] for column in columns}, sort_keys=True)
    return hashlib.sha256(destination.encode()).hexdigest()


def _secret_required(secret: str, changed: Collection[str]) -> SecretRequired:
    name, field, hint = _PROMPTS[secret]
    *others, last = (f"`{_FIELDS[column]}`" for column in changed)
    listed = f"{', '.join(others)} and {last}" if others else last
    return SecretRequired(
        f"The stored {name} is sent only to the destination it was saved for,"
        f" and {listed} changed.",
        hint=hint,
        field=field,
    )

"""Saved connections to users' databases, and preferences of users."""

from db.connections.binding import SecretRequired, check_binding, secret_locations
from db.connections.drafts import (
    REQUIRED_TO_CONNECT,
    SECRETS,
    Draft,
    check_connection,
    decrypt_stored_key,
    parse_draft,
    require_fields,
    with_defaults,
)
from db.connections.preferences import PreferenceRow, Preferences
from db.connections.repository import (
    ConnectionRow,
    Connections,
    ConnectionUpdate,
    SealedRow,
)
from db.connections.rotation import SecretRotation, rotate
from db.connections.rules import SshAuthMethod, SslMode
from db.connections.unscoped import Sealed

__all__ = [
    "REQUIRED_TO_CONNECT",
    "SECRETS",
    "ConnectionRow",
    "ConnectionUpdate",
    "Connections",
    "Draft",
    "PreferenceRow",
    "Preferences",
    "Sealed",
    "SealedRow",
    "SecretRequired",
    "SecretRotation",
    "SshAuthMethod",
    "SslMode",
    "check_binding",
    "check_connection",
    "decrypt_stored_key",
    "parse_draft",
    "require_fields",
    "rotate",
    "secret_locations",
    "with_defaults",
]

"""Saved connections to users' databases, and preferences of users."""

from db.connections.binding import SecretRequired, check_binding, secret_places
from db.connections.drafts import (
    REQUIRED_TO_CONNECT,
    SECRETS,
    Draft,
    check_whole,
    completed,
    draft,
    require_fields,
)
from db.connections.preferences import PreferenceRow, Preferences
from db.connections.repository import (
    ConnectionRow,
    Connections,
    SealedRow,
)
from db.connections.rotation import Rotation, rotate
from db.connections.rules import SshAuthMethod, SslMode
from db.connections.unscoped import Sealed

__all__ = [
    "REQUIRED_TO_CONNECT",
    "SECRETS",
    "ConnectionRow",
    "Connections",
    "Draft",
    "PreferenceRow",
    "Preferences",
    "Rotation",
    "Sealed",
    "SealedRow",
    "SecretRequired",
    "SshAuthMethod",
    "SslMode",
    "check_binding",
    "check_whole",
    "completed",
    "draft",
    "require_fields",
    "rotate",
    "secret_places",
]

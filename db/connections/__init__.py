"""Saved connections to users' databases, and preferences of users."""

from db.connections.binding import (
    SecretRequired,
    check_binding,
    secret_locations,
    typed_locations,
)
from db.connections.drafts import (
    REQUIRED_TO_CONNECT,
    SECRETS,
    TYPED_SECRETS,
    Draft,
    check_connection,
    checked_typed_secrets,
    parse_draft,
    require_fields,
    with_defaults,
)
from db.connections.open_connections import (
    OPEN_FOR,
    OpenConnections,
    OpenRow,
    TypedSeals,
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
from db.connections.unscoped import disconnect_counts, sweep

__all__ = [
    "OPEN_FOR",
    "REQUIRED_TO_CONNECT",
    "SECRETS",
    "TYPED_SECRETS",
    "ConnectionRow",
    "ConnectionUpdate",
    "Connections",
    "Draft",
    "OpenConnections",
    "OpenRow",
    "PreferenceRow",
    "Preferences",
    "SealedRow",
    "SecretRequired",
    "SecretRotation",
    "SshAuthMethod",
    "SslMode",
    "TypedSeals",
    "check_binding",
    "check_connection",
    "checked_typed_secrets",
    "disconnect_counts",
    "parse_draft",
    "require_fields",
    "rotate",
    "secret_locations",
    "sweep",
    "typed_locations",
    "with_defaults",
]

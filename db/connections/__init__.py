"""Saved connections to the users' databases, and the preferences of those who use them."""

from db.connections.binding import SecretRequired, check_binding, secret_places
from db.connections.drafts import SECRETS, Draft, check_whole, completed, draft
from db.connections.preferences import PreferenceRow, Preferences
from db.connections.repository import (
    ConnectionRow,
    Connections,
    SealedRow,
)
from db.connections.rotation import rotate
from db.connections.rules import SshAuthMethod, SslMode

__all__ = [
    "SECRETS",
    "ConnectionRow",
    "Connections",
    "Draft",
    "PreferenceRow",
    "Preferences",
    "SealedRow",
    "SecretRequired",
    "SshAuthMethod",
    "SslMode",
    "check_binding",
    "check_whole",
    "completed",
    "draft",
    "rotate",
    "secret_places",
]

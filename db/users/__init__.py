"""People: their accounts, their sessions, and how often somebody tried to be one of them."""

from db.users.accounts import OutsideUser, OwnUser, User, UserRow, Users, canonical_email, name_rule
from db.users.attempts import Attempts, Limit, RateLimit
from db.users.sessions import Rotation, Sessions, UserSession

__all__ = [
    "Attempts",
    "Limit",
    "OutsideUser",
    "OwnUser",
    "RateLimit",
    "Rotation",
    "Sessions",
    "User",
    "UserRow",
    "UserSession",
    "Users",
    "canonical_email",
    "name_rule",
]

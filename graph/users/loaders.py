"""Loaders of users."""

from db.users import OwnUser, UserRow
from graph.kit.loaders import ById


class UserById(ById[UserRow]):
    """Finds the viewer only. Every other ID is treated as missing."""

    repository = OwnUser

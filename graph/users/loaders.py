"""Loads the signed-in user, the only one that the API can return."""

from db.users import OwnUser, UserRow
from graph.kit.loaders import ById


class UserById(ById[UserRow]):
    """Finds the viewer only. Every other ID is treated as missing."""

    repository = OwnUser

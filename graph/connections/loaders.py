"""Batch loaders of saved connections."""

from db.connections import ConnectionRow, Connections
from graph.kit.loaders import ById


class ConnectionById(ById[ConnectionRow]):
    repository = Connections

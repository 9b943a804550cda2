"""What one level of a query needs of connections, by one call each."""

from db.connections import ConnectionRow, Connections
from graph.kit.loaders import ById


class ConnectionById(ById[ConnectionRow]):
    """The viewer's connections by id."""

    repository = Connections

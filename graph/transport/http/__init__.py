"""GraphQL over HTTP: single responses and streams."""

from graph.transport.http.accept import accept
from graph.transport.http.handler import serve
from graph.transport.http.reserved_streams import ReservedStreams

__all__ = ["ReservedStreams", "accept", "serve"]

"""GraphQL over HTTP: single responses and streams."""

from graph.transport.http.accept import accept
from graph.transport.http.handler import serve

__all__ = ["accept", "serve"]

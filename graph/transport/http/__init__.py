"""GraphQL over HTTP: one request in, one answer or a stream of them out."""

from graph.transport.http.accept import accept
from graph.transport.http.handler import serve

__all__ = ["accept", "serve"]

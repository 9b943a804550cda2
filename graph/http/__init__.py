"""GraphQL over HTTP: one request in, one answer or a stream of them out."""

from graph.http.accept import accept
from graph.http.endpoint import serve

__all__ = ["accept", "serve"]

"""Headers of the responses of GraphQL over HTTP."""

from typing import TypeAlias

from graph.transport.http.accept import GRAPHQL_JSON, JSON

Header: TypeAlias = tuple[bytes, bytes]

CONTENT_TYPES = {
    JSON: b"application/json; charset=utf-8",
    GRAPHQL_JSON: b"application/graphql-response+json; charset=utf-8",
}
EVERY_RESPONSE: tuple[Header, ...] = (
    (b"cache-control", b"no-store"),
    (b"vary", b"accept, accept-encoding"),
    (b"x-content-type-options", b"nosniff"),
)
HEADS = {
    media_type: b"".join(
        b"%b: %b\r\n" % pair for pair in ((b"content-type", content_type), *EVERY_RESPONSE)
    )
    + b"x-request-id: %b\r\ncontent-length: %d\r\n\r\n"
    for media_type, content_type in CONTENT_TYPES.items()
}
"""The headers of an answer without others, for its request ID and length."""
UNBUFFERED: tuple[Header, ...] = ((b"x-accel-buffering", b"no"),)  # by nginx
ALLOWED = b"DELETE, GET, HEAD, OPTIONS, POST, PUT, QUERY"
READING = b"GET, POST, QUERY"
CHALLENGE: Header = (b"www-authenticate", b"Bearer")
"""RFC 9110 requires one beside 401."""
ACCEPT_QUERY: Header = (b"accept-query", b"application/json")
"""The media type of a body of QUERY (RFC 10008)."""

"""The HTTP status and media type of an answer, by GraphQL over HTTP, edition of September 2026.

The status does not depend on the media type, except that of a partial result: 294 has a meaning
only beside `application/graphql-response+json`. A refusal always has that type, also for a client
that accepts only `application/json`: it proves that the refusal comes from a GraphQL server.
"""

from graph.operations import Answer
from graph.transport.http.accept import GRAPHQL_JSON, JSON

PARTIAL_SUCCESS = 294
UNPROCESSABLE = 422

_STATUS = {
    "UNAUTHENTICATED": 401,
    "FORBIDDEN": 403,
    "RATE_LIMITED": 429,
    "OVERLOADED": 503,
    "UNAVAILABLE": 503,
    "TIMEOUT": 504,
    "INTERNAL": 500,
}
"""The others concern the document, its operation or its variables."""


def status_of(answer: Answer, media_type: str) -> int:
    if not answer.ran:
        return _STATUS.get(answer.code, UNPROCESSABLE if answer.parsed else 400)
    return PARTIAL_SUCCESS if answer.errors and media_type == GRAPHQL_JSON else 200


def media_type_of(status: int, accepted: str) -> str:
    return JSON if status < 300 and accepted == JSON else GRAPHQL_JSON

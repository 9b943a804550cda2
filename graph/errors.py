"""Formats errors for responses: message, code, hint and request ID.

Errors of `db.errors` are returned unchanged. Errors of graphql-core about a document or its
variables become `BAD_USER_INPUT`. All other errors are logged and masked as `INTERNAL`.
"""

import logging
import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from graphql import FieldNode, GraphQLError, GraphQLSyntaxError

from db.errors import BadInput, HowdahError
from graph.executor import InvalidVariable
from graph.kit.fields import graphql_enum


@graphql_enum(
    "Kind of an error: `extensions.code` of the errors of a response, and `code` where an error is "
    "data.",
    UNAUTHENTICATED="The access token is missing, expired or wrong.",
    FORBIDDEN="The viewer may not do this.",
    NOT_FOUND="The object to change does not exist. Reading one returns null instead.",
    BAD_USER_INPUT="The document, a variable or a value is invalid.",
    CONFLICT="The object has changed since it was read, a name is taken, or an `idempotencyKey` "
    "was used for another input.",
    TOO_LARGE="A limit of the size of a request, a value or a list is exceeded, or a quota.",
    RATE_LIMITED="The viewer or the address sends too many requests. `extensions.retryAfter` says "
    "in how many seconds a retry makes sense.",
    OVERLOADED="The server has no capacity at the moment, or is stopping. A retry makes sense.",
    UNAVAILABLE="Something that the server needs does not respond, such as a user's database.",
    TIMEOUT="A deadline passed. A change may have happened.",
    INTERNAL="A fault of the server, whose details are only in its log. Report "
    "`extensions.requestId`.",
    PERSISTED_QUERY_NOT_FOUND="The server does not know the hash of a persisted document. Send the "
    "text too.",
)
class ErrorCode(StrEnum):
    """Every code of a `HowdahError`; a test compares them."""

    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    NOT_FOUND = "NOT_FOUND"
    BAD_USER_INPUT = "BAD_USER_INPUT"
    CONFLICT = "CONFLICT"
    TOO_LARGE = "TOO_LARGE"
    RATE_LIMITED = "RATE_LIMITED"
    OVERLOADED = "OVERLOADED"
    UNAVAILABLE = "UNAVAILABLE"
    TIMEOUT = "TIMEOUT"
    INTERNAL = "INTERNAL"
    PERSISTED_QUERY_NOT_FOUND = "PERSISTED_QUERY_NOT_FOUND"


logger = logging.getLogger(__name__)

MAX_MESSAGE_LENGTH = 1_000

_SYNTAX_HINT = "Correct the document at the given line and column, or shorten it."
_DOCUMENT_HINT = "Check the operation and its variables against the schema."
_MASK_HINT = "Try again. If the error persists, report the requestId to the operator."


_FOUND = re.compile(r"(?:, found| Found|; found): [\[{]")
"""graphql-core quotes the whole object that lacks a field or has an unknown one, with passwords."""


def present(error: Exception, *, request_id: str) -> dict[str, Any]:
    """Formats one error for a response."""
    shown: dict[str, Any] = {}
    if isinstance(error, GraphQLError):
        shown["message"] = error.message  # `str` would quote the document too
        if error.locations:
            shown["locations"] = [location.formatted for location in error.locations]
        if error.path:
            shown["path"] = error.path
    else:
        shown["message"] = str(error)
    match cause := _cause(error):
        case HowdahError():
            shown["extensions"] = _extensions(cause)
        case GraphQLSyntaxError():
            shown["extensions"] = {"code": BadInput.code, "hint": _SYNTAX_HINT}
        case GraphQLError():
            shown["message"] = _reword(shown["message"])
            shown["extensions"] = {"code": BadInput.code, "hint": _DOCUMENT_HINT}
            if isinstance(cause, InvalidVariable):
                shown["extensions"]["field"] = cause.field
        case _:
            shown["message"] = "An internal error occurred."
            shown["extensions"] = {"code": HowdahError.code, "hint": _MASK_HINT}
    shown["message"] = _truncate(shown["message"])
    shown["extensions"]["requestId"] = request_id
    return shown


def present_all(errors: Sequence[Exception], *, request_id: str) -> list[dict[str, Any]]:
    """Formats all errors of a response. Logs the unexpected ones, the first with its traceback."""
    unexpected = [cause for error in errors if _is_unexpected(cause := _cause(error))]
    if unexpected:
        logger.error(
            "Request %s failed with %d unexpected error(s). Traceback of the first:",
            request_id,
            len(unexpected),
            exc_info=unexpected[0],
            extra={"request_id": request_id},
        )
    return [present(error, request_id=request_id) for error in errors]


def _reword(message: str) -> str:
    """Takes time linear in the message, which a client can make as long as its request."""
    found = _FOUND.search(message)
    if found is not None:
        end = max(message.rfind("}."), message.rfind("]."))
        if end >= found.end():
            message = message[: found.start()] + message[end + 1 :]
    message = message[: 2 * MAX_MESSAGE_LENGTH]
    return message.replace("?.", "?").replace("not to be None", "not to be null")


def _truncate(message: str) -> str:
    """Shortens a message, because graphql-core quotes client input of any length."""
    return message if len(message) <= MAX_MESSAGE_LENGTH else f"{message[:MAX_MESSAGE_LENGTH]} …"


def _is_unexpected(cause: Exception) -> bool:
    return not isinstance(cause, HowdahError | GraphQLError)


def _extensions(error: HowdahError) -> dict[str, Any]:
    extensions: dict[str, Any] = {"code": error.code, "hint": error.hint}
    if error.field is not None:
        extensions["field"] = error.field
    if error.retry_after_s is not None:
        extensions["retryAfter"] = error.retry_after_s
    if error.postgres is not None:
        extensions["postgres"] = dict(error.postgres)
    return extensions


def _cause(error: Exception) -> Exception:
    """The original error: a `HowdahError`, a `GraphQLError` of the client or an unexpected one."""
    cause = error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    if isinstance(cause, HowdahError) or not isinstance(error, GraphQLError):
        return cause
    if error.path is None:
        return (
            error  # before execution: a scalar rejected a value of the client, with any exception
        )
    if isinstance(cause, GraphQLError) and _is_about_result(error):
        return TypeError(cause.message)
    return cause


def _is_about_result(error: GraphQLError) -> bool:
    """Whether serializing a result failed. Errors about arguments point at the argument's value."""
    return error.nodes is not None and isinstance(error.nodes[0], FieldNode)

"""Errors as clients see them: a code, a hint and the request's id. The rest stays in the log.

What was raised on purpose (`db.errors`) is shown as it is. What graphql-core says about a document
or its variables is the client's to mend. Everything else is ours: it is logged and masked.
"""

import logging
from collections.abc import Sequence
from typing import Any

from graphql import FieldNode, GraphQLError, GraphQLSyntaxError

from db.errors import BadInput, HowdahError

logger = logging.getLogger(__name__)

LONGEST = 1_000

_SYNTAX_HINT = "Correct the document at the line and column given, or make it smaller."
_DOCUMENT_HINT = "Compare the operation and its variables with the schema."
_MASK_HINT = "Try again; if it stays, tell the operator the requestId."


def present(error: Exception, *, request_id: str) -> dict[str, Any]:
    """One error as it stands in a response."""
    shown: dict[str, Any] = {"message": str(error)}
    if isinstance(error, GraphQLError):
        shown["message"] = error.message
        if error.locations:
            shown["locations"] = [location.formatted for location in error.locations]
        if error.path:
            shown["path"] = error.path
    match cause := _cause(error):
        case HowdahError():
            shown["extensions"] = _extensions(cause)
        case GraphQLSyntaxError():
            shown["extensions"] = {"code": BadInput.code, "hint": _SYNTAX_HINT}
        case GraphQLError():
            shown["extensions"] = {"code": BadInput.code, "hint": _DOCUMENT_HINT}
        case _:
            shown["message"] = "Something went wrong on our side."
            shown["extensions"] = {"code": HowdahError.code, "hint": _MASK_HINT}
    shown["message"] = _short(shown["message"])
    shown["extensions"]["requestId"] = request_id
    return shown


def present_all(errors: Sequence[Exception], *, request_id: str) -> list[dict[str, Any]]:
    """All errors of a response; the unexpected ones are logged, the first with its traceback."""
    unexpected = [cause for error in errors if _is_unexpected(cause := _cause(error))]
    if unexpected:
        logger.error(
            "Request %s met %d unexpected error(s); the first follows.",
            request_id,
            len(unexpected),
            exc_info=unexpected[0],
            extra={"request_id": request_id},
        )
    return [present(error, request_id=request_id) for error in errors]


def _short(message: str) -> str:
    """graphql-core repeats what it was sent, however long that is."""
    return message if len(message) <= LONGEST else f"{message[:LONGEST]} …"


def _is_unexpected(cause: Exception) -> bool:
    return not isinstance(cause, HowdahError | GraphQLError)


def _extensions(error: HowdahError) -> dict[str, Any]:
    extensions: dict[str, Any] = {"code": error.code, "hint": error.hint}
    if error.field is not None:
        extensions["field"] = error.field
    if error.retry_after_s is not None:
        extensions["retryAfter"] = error.retry_after_s
    return extensions


def _cause(error: Exception) -> Exception:
    """What was wrong in the first place: one of ours, the client's GraphQLError, or a surprise."""
    cause = error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    if isinstance(cause, HowdahError) or not isinstance(error, GraphQLError):
        return cause
    if error.path is None:
        return error  # nothing ran: a scalar may have raised anything, the value is the client's
    if isinstance(cause, GraphQLError) and _is_about_result(error):
        return TypeError(cause.message)
    return cause


def _is_about_result(error: GraphQLError) -> bool:
    """Whether a resolver's result could not be written; about an argument it names its value."""
    return error.nodes is not None and isinstance(error.nodes[0], FieldNode)

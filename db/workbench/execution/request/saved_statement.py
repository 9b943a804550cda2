"""Turns a request to execute a saved query into one with its statement and values."""

from db.errors import BadInput
from db.kit.base import OwnerId
from db.kit.text_rules import require_storable
from db.postgres.sessions import ReadSession
from db.saved_queries import SavedCall, SavedQueries, bind_arguments, decode_parameters
from db.workbench.execution.request.run_request import RunRequest


def check_call(call: SavedCall) -> None:
    """Raises BadInput if a text or a value of the request cannot be sent to PostgreSQL."""
    if call.statement is not None:
        require_storable("statement", call.statement)
    RunRequest(None, "", [call.parameters, call.named_parameters]).encode_parameters()


async def resolve_saved(session: ReadSession, owner: OwnerId, request: RunRequest) -> RunRequest:
    """Returns a request for a statement as it is.

    Raises:
        NotFound: The saved query does not exist.
        Forbidden: It belongs to another user.
        BadInput: A value of its parameters is missing or not known, or it has no connection.
    """
    call = request.saved
    if call is None:
        return request
    found = await SavedQueries(session, owner).require(call.id, field="savedQueryId")
    connection_id = None
    if request.session_id is None:
        connection_id = call.connection_id or found.connection_id
        if connection_id is None:
            raise BadInput(
                "The saved query has no connection.",
                hint="Pass `connectionId` or `sessionId`, or save the query with a connection.",
                field="connectionId",
            )
    return request._replace(
        connection_id=connection_id,
        statement=found.text if call.statement is None else call.statement,
        parameters=bind_arguments(decode_parameters(found.parameters), call),
    )

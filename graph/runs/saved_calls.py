"""The statement of `executeQuery`, or the saved query that gives it."""

from collections.abc import Mapping
from typing import Any

from db.errors import BadInput
from db.saved_queries import SavedCall
from graph.kit.ids import parse_id


def parse_call(saved_query_id: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of the request for a run, from those of the input.

    Raises:
        BadInput: There is no statement, or `namedParameters` does not fit.
    """
    fields = dict(given)
    named = fields.pop("named_parameters", None)
    statement = fields.pop("statement", None)
    if saved_query_id is None:
        if statement is None:
            raise BadInput(
                "Neither `statement` nor `savedQueryId` is set.",
                hint="Pass the SQL statement, or the ID of a saved query.",
                field="statement",
            )
        if named is not None:
            raise BadInput(
                "`namedParameters` is set without `savedQueryId`.",
                hint="Pass the values of a statement by position, in `parameters`.",
                field="namedParameters",
            )
        return fields | {"statement": statement}
    if named is not None and not isinstance(named, dict):
        raise BadInput(
            "`namedParameters` is not a JSON object.",
            hint='Pass the values by name, such as `{"since": "2026-01-01"}`.',
            field="namedParameters",
        )
    call = SavedCall(
        id=parse_id("query", saved_query_id, argument="savedQueryId"),
        connection_id=fields["connection_id"],
        statement=statement,
        parameters=fields.get("parameters"),
        named_parameters=named,
    )
    return fields | {"statement": "", "connection_id": None, "parameters": None, "saved": call}

"""From the text of a document to the answer; the transports only carry the two."""

from graph.operations.operations import Answer, Observe, Operations, refuse
from graph.operations.persisted import EXTENSION as PERSISTED_QUERY
from graph.operations.plans import Plans, Prepared, Refused
from graph.operations.request import GraphQLRequest

__all__ = [
    "PERSISTED_QUERY",
    "Answer",
    "GraphQLRequest",
    "Observe",
    "Operations",
    "Plans",
    "Prepared",
    "Refused",
    "refuse",
]

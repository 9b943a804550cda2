"""Prepares and runs GraphQL operations, independent of the transport."""

from graph.operations.operations import Answer, Operations, refuse
from graph.operations.plans import Plans, Prepared, Refused
from graph.operations.request import EXTENSION as PERSISTED_QUERY
from graph.operations.request import GraphQLRequest

__all__ = [
    "PERSISTED_QUERY",
    "Answer",
    "GraphQLRequest",
    "Operations",
    "Plans",
    "Prepared",
    "Refused",
    "refuse",
]

"""Prepares and runs GraphQL operations, independent of the transport."""

from graph.operations.documents import Documents
from graph.operations.listed_documents import ListedDocuments
from graph.operations.operations import Answer, Operations, refuse, with_position
from graph.operations.plans import Plans, Prepared, Refused
from graph.operations.request import GraphQLRequest

__all__ = [
    "Answer",
    "Documents",
    "GraphQLRequest",
    "ListedDocuments",
    "Operations",
    "Plans",
    "Prepared",
    "Refused",
    "refuse",
    "with_position",
]

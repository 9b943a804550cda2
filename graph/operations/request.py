"""The request of a client."""

from typing import Any

import msgspec


class GraphQLRequest(msgspec.Struct, frozen=True, rename="camel"):
    """One operation to run: a document, which of its operations, and their variables."""

    query: str | None = None  # a persisted document may omit it
    operation_name: str | None = None
    variables: dict[str, Any] | None = None
    extensions: dict[str, Any] | None = None
    document_id: str | None = None

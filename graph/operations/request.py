"""The request of a client, independent of the transport."""

from typing import Any

import msgspec


class GraphQLRequest(msgspec.Struct, frozen=True, rename="camel"):
    """One operation to run: a document, which of its operations, and their variables."""

    query: str  # empty for a persisted query
    operation_name: str | None = None
    variables: dict[str, Any] | None = None
    extensions: dict[str, Any] | None = None

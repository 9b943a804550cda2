"""Immutable values of saved queries."""

from typing import Any, NamedTuple
from uuid import UUID

from db.kit.base import TimestampText
from db.kit.text_rules import contains_pattern
from db.saved_queries.rules import (
    checked_folder,
    search_rule,
)


class SavedQueryRow(NamedTuple):
    """A saved query without its owner. `parameters` is JSON text."""

    id: UUID
    name: str
    folder: str
    text: str
    connection_id: UUID | None
    parameters: str
    created_at: TimestampText
    updated_at: TimestampText
    version: int


class SavedVersionRow(NamedTuple):
    """A saved query as it was before a change."""

    id: UUID
    version: int
    name: str
    folder: str
    text: str
    parameters: str
    saved_at: TimestampText


class QueryFolderRow(NamedTuple):
    """A folder of saved queries. It exists while saved queries are in it."""

    path: str

    @property
    def id(self) -> UUID:
        """The second part of a cursor; the first one is the path, which is unique."""
        return UUID(int=0)

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


class SavedQueryFilter(NamedTuple):
    """Conditions of a list of saved queries; None means no condition."""

    folder: str | None = None
    search: str | None = None

    @property
    def values(self) -> dict[str, Any]:
        """The conditions that are set. Their names determine the statement."""
        present: dict[str, Any] = {}
        if self.folder is not None:
            present["folder"] = checked_folder(self.folder)
        if self.search is not None:
            present["search"] = contains_pattern(search_rule.checked(self.search).lower())
        return present


class SavedCall(NamedTuple):
    """How a saved query is executed: its parameters by position or by name."""

    id: UUID
    connection_id: UUID | None = None
    """The connection of the request; None for that of the saved query."""
    statement: str | None = None
    """The text of the request; None for that of the saved query."""
    parameters: list[Any] | None = None
    named_parameters: dict[str, Any] | None = None

"""Loaders of lists that each row of a list has."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from db.errors import HowdahError
from db.kit.lists.paging import Window
from db.postgres.sessions import ReadSession
from graph.kit.loaded_rows import find_pages
from graph.kit.loaders import Loader


class ParentQuery(NamedTuple):
    """A page of the children of one parent, or their number if `window` is None."""

    parent: UUID
    window: Window | None


Q = TypeVar("Q", bound=Any)
"""A named tuple that begins with the fields of `ParentQuery`."""


class ListsOfParents(Loader[Q, Any]):
    """Loads lists of many parents, with one statement for all keys that differ by parent only."""

    async def batch(self, session: ReadSession, keys: list[Q]) -> Mapping[Q, Any]:
        grouped: dict[tuple[Any, ...], list[Q]] = {}
        for key in keys:
            grouped.setdefault(key[1:], []).append(key)
        found: dict[Q, Any] = {}
        for queries in grouped.values():
            parents = [query.parent for query in queries]
            try:
                answers = await self._find_all(session, parents, queries[0])
            except HowdahError as error:  # invalid arguments of one field must not fail another
                answers = dict.fromkeys(parents, error)
            found |= {query: answers.get(query.parent) for query in queries}
        return found

    async def _find_all(
        self, session: ReadSession, parents: list[UUID], query: Q
    ) -> Mapping[UUID, Any]:
        if query.window is None:
            return await self.find_of(session, parents, query)
        find = partial(self.find_of, session, query=query)
        return await find_pages(self.context, parents, query.window.size, find)

    @abstractmethod
    async def find_of(
        self, session: ReadSession, parents: Sequence[UUID], query: Q
    ) -> Mapping[UUID, Any]:
        """A page for each of `parents`, or the number of its items if there is no window."""

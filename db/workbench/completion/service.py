"""`CompletionService`: completion and search on the snapshots of the catalogues in use."""

import asyncio
from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from db.concurrency.fair_slots import FairSlots
from db.kit.base import OwnerId
from db.kit.number_rules import require_between
from db.workbench.catalogue.snapshot_cache import CatalogueCache
from db.workbench.completion.results import (
    MAX_COMPLETIONS,
    MAX_SEARCH_RESULTS,
    Completion,
    SearchKind,
    SearchResult,
)

if TYPE_CHECKING:
    from db.workbench.completion.catalogue_index import CatalogueIndex

MAX_AT_ONCE = 2
MAX_PER_USER = 1
MAX_WAITING = 50
"""Waiting completions of one user."""
SHORT_CHARS = 2_000
QUICK_OBJECTS = 8_000
"""A shorter text on a smaller catalogue is completed at once, in a few milliseconds, all others in
a thread. PostgreSQL itself has some 4,000 relations, functions and types."""


class CompletionService:
    def __init__(self, catalogues: CatalogueCache) -> None:
        self._catalogues = catalogues
        self._slots = FairSlots(
            "texts to complete",
            total=MAX_AT_ONCE,
            of_one_user=lambda: MAX_PER_USER,
            max_waiting=MAX_WAITING,
        )

    async def complete(
        self, owner: OwnerId, connection_id: UUID, text: str, cursor: int, first: int
    ) -> list[Completion]:
        """Lists what can be written at the cursor.

        Raises:
            BadInput: The cursor is outside of the text, or `first` is out of bounds.
            NotFound: The owner has no such connection.
            RateLimited: Too many texts of the owner wait.
            TooLarge: The text is too long.
        """
        from db.workbench.completion.completions import complete

        require_between("first", first, 1, MAX_COMPLETIONS)
        index = await self._index(owner, connection_id)
        if index.is_warm and len(text) <= SHORT_CHARS and index.object_count <= QUICK_OBJECTS:
            return complete(index, text, cursor, first)
        work = partial(complete, index, text, cursor, first)
        return await self._slots.run(owner, lambda: asyncio.to_thread(work))

    async def search(
        self,
        owner: OwnerId,
        connection_id: UUID,
        text: str,
        kinds: Collection[SearchKind],
        first: int,
    ) -> list[SearchResult]:
        """Finds objects by a part of their name.

        Raises:
            BadInput: The text is empty or too long, or `first` is out of bounds.
            NotFound: The owner has no such connection.
        """
        from db.workbench.completion.search import search_catalogue

        require_between("first", first, 1, MAX_SEARCH_RESULTS)
        index = await self._index(owner, connection_id)
        work = partial(search_catalogue, index, text, kinds, first)
        return await self._slots.run(owner, lambda: asyncio.to_thread(work))

    async def _index(self, owner: OwnerId, connection_id: UUID) -> "CatalogueIndex":
        from db.workbench.completion.catalogue_index import index_of

        return index_of(await self._catalogues.snapshot(owner, connection_id))

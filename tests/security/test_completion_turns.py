"""Completion on a large catalogue does not take the time of other users."""

import asyncio
import threading
from typing import cast
from uuid import UUID

import pytest

from db.kit.base import OwnerId, new_id
from db.workbench.catalogue.snapshot import CatalogueSnapshot, SnapshotRelation, SnapshotSchema
from db.workbench.catalogue.snapshot_cache import CatalogueCache
from db.workbench.completion import completions, service
from db.workbench.completion.catalogue_index import CatalogueIndex, index_of
from db.workbench.completion.completions import complete
from db.workbench.completion.results import Completion

TABLES = 50_000


class LargeCatalogue:
    """A copy of a catalogue that has been read already."""

    def __init__(self) -> None:
        tables = (
            SnapshotRelation(number, "public", f"table_{number}", "r", None, ())
            for number in range(TABLES)
        )
        self.kept = CatalogueSnapshot(
            server_version=180000,
            search_path=("pg_catalog", "public"),
            schemas=(SnapshotSchema(1, "public", None),),
            relations=tuple(tables),
            sequences=(),
            functions=(),
            types=(),
            keywords=(("select", "R"), ("from", "R")),
            is_complete=True,
        )

    async def snapshot(self, _owner: OwnerId, _connection_id: UUID) -> CatalogueSnapshot:
        return self.kept


async def test_short_text_on_a_large_catalogue_is_completed_outside_of_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = set[threading.Thread]()

    def recorded(index: CatalogueIndex, text: str, cursor: int, first: int) -> list[Completion]:
        threads.add(threading.current_thread())
        return complete(index, text, cursor, first)

    monkeypatch.setattr(completions, "complete", recorded)
    catalogue = LargeCatalogue()
    index_of(catalogue.kept).warm()
    completing = service.CompletionService(cast("CatalogueCache", catalogue))
    text = "SELECT * FROM public."
    asked = (
        completing.complete(OwnerId(new_id()), new_id(), text, len(text), 200) for _ in range(4)
    )
    assert [len(found) for found in await asyncio.gather(*asked)] == [200] * 4
    assert threading.main_thread() not in threads

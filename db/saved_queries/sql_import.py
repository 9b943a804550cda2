"""Imports a file of saved queries. A second import changes nothing."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from db.postgres.sessions import Session
from db.saved_queries.repository import SavedQueries
from db.saved_queries.rows import SavedQueryRow
from db.saved_queries.sql_file import FileQuery, RejectedQuery, parse_queries
from db.saved_queries.versions import SavedVersions


@dataclass(slots=True)
class SavedQueryImport:
    """What an import did, or would do."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: list[RejectedQuery] = field(default_factory=list)


async def import_queries(
    saved: SavedQueries[Session], sql: str, *, dry_run: bool
) -> SavedQueryImport:
    """Creates the queries of a file, and changes those with the same folder and name.

    The connections of existing ones stay. Needs a transaction.
    """
    # Outside the event loop, of which 95,000 queries would take 300 ms.
    parsed = await asyncio.to_thread(lambda: list(parse_queries(sql)))
    found = [query for query in parsed if isinstance(query, FileQuery)]
    rows = await saved.lock_named([(query.folder, query.name) for query in found])
    existing = {(row.folder, row.name): row for row in rows}
    new = [query for query in found if (query.folder, query.name) not in existing]
    changed = [
        (existing[query.folder, query.name], query)
        for query in found
        if (row := existing.get((query.folder, query.name))) is not None
        and (row.text, row.parameters) != (query.text, query.parameters)
    ]
    if not dry_run:
        await _write(saved, new, changed)
    return SavedQueryImport(
        created=len(new),
        updated=len(changed),
        unchanged=len(found) - len(new) - len(changed),
        rejected=[query for query in parsed if isinstance(query, RejectedQuery)],
    )


async def _write(
    saved: SavedQueries[Session],
    new: Sequence[FileQuery],
    changed: Sequence[tuple[SavedQueryRow, FileQuery]],
) -> None:
    if new:
        await saved.add_many([query.values for query in new])
    if changed:
        await SavedVersions(saved.session, saved.owner).keep([row.id for row, _ in changed])
        await saved.replace_many({row.id: (query.text, query.parameters) for row, query in changed})

"""Imports old tasks in batches and verifies each one. A second import changes nothing.

async for report in import_records(run, parse_legacy_tasks(chunks)):
    ...                       # the progress after each batch
"""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

import msgspec
from sqlalchemy import (
    ARRAY,
    Boolean,
    ColumnElement,
    DateTime,
    LargeBinary,
    Text,
    Uuid,
    any_,
    bindparam,
    case,
    column,
    func,
    literal_column,
    null,
    select,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql import ClauseElement

from db.errors import Conflict
from db.kit.base import TimestampText, new_id, to_timestamp_text
from db.kit.repository import Repository, S
from db.postgres.sessions import Session
from db.postgres.statements import change_statement, statement
from db.tasks.legacy_task import LegacyTask, RejectedRecord
from db.tasks.repository import Task

BATCH = 1_000

_TIMESTAMP = DateTime(timezone=True)
_COLUMNS: dict[str, Any] = {
    "id": Uuid(),
    "imported_as": LargeBinary(),
    "title": Text(),
    "description": Text(),
    "completed": Boolean(),
    "created_at": _TIMESTAMP,
    "updated_at": _TIMESTAMP,
}


class ImportedRow(NamedTuple):
    """The columns that are verified after the import."""

    imported_as: bytes
    title: str
    description: str | None
    completed: bool
    created_at: TimestampText
    updated_at: TimestampText


class Imports(Repository[ImportedRow, S]):
    """The imported tasks of one owner, identified by `imported_as`."""

    model = Task
    row = ImportedRow
    noun = "task"

    async def add_new(self: "Imports[Session]", old: Sequence[LegacyTask]) -> set[bytes]:
        """Adds the tasks that are not imported yet. Returns their `imported_as`."""
        rows = [(new_id(), *task) for task in old]
        values = dict(zip(_COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
        return {found[0] for found in await self.run(self._add_new(), **values)}

    async def find(self, old: Iterable[LegacyTask]) -> dict[bytes, ImportedRow]:
        found = await self.all(self._find(), imported_as=[task.imported_as for task in old])
        return {row.imported_as: row for row in found}

    @change_statement
    def _add_new(cls) -> ClauseElement:
        table = cls.table()
        arrays = [bindparam(name, type_=ARRAY(kind)) for name, kind in _COLUMNS.items()]
        columns = [column(name, kind) for name, kind in _COLUMNS.items()]
        old = func.unnest(*arrays).table_valued(*columns).render_derived(name="old")
        made: ColumnElement[Any] = func.coalesce(_finite(old.c.created_at), func.now())
        changed: ColumnElement[Any] = func.coalesce(_finite(old.c.updated_at), made)
        values = {name: old.c[name] for name in _COLUMNS} | {
            "owner_id": bindparam("owner_id", type_=Uuid()),
            "created_at": made,
            "updated_at": changed,
            "completed_at": case((old.c.completed, changed), else_=null()),
        }
        return (
            insert(table)
            .from_select(list(values), select(*values.values()))
            .on_conflict_do_nothing(index_elements=[table.c.owner_id, table.c.imported_as])
            .returning(table.c.imported_as)
        )

    @statement
    def _find(cls) -> ClauseElement:
        wanted = bindparam("imported_as", type_=ARRAY(LargeBinary))
        return cls.owned().where(cls.table().c.imported_as == any_(wanted))


def _finite(time: ColumnElement[Any]) -> ColumnElement[Any]:
    """Works around asyncpg, which sends Python's earliest time as minus infinity."""
    first: ColumnElement[Any] = literal_column("timestamptz '0001-01-01Z'")
    return case((time.is_not(None), func.greatest(time, first)))


Run: TypeAlias = Callable[[Callable[[Imports], Awaitable[Any]]], Awaitable[Any]]
"""Runs work with the Imports of an owner, in one transaction each or in a shared one."""


@dataclass
class ImportReport:
    """The progress of an import; complete in the last report."""

    created: int = 0
    unchanged: int = 0
    rejected: list[RejectedRecord] = field(default_factory=list)
    checksum: str = ""
    """Checksum of the imported records, equal in file and table."""

    @property
    def read(self) -> int:
        return self.created + self.unchanged + len(self.rejected)


async def import_records(
    run: Run, records: Iterable[LegacyTask | RejectedRecord], *, dry_run: bool = False
) -> AsyncIterator[ImportReport]:
    """Yields the report after each batch, and at the end.

    Raises:
        Conflict: the table differs from the file when it is read after a batch.
    """
    report = ImportReport()
    source = iter(records)
    while batch := list(islice(source, BATCH)):
        old = [record for record in batch if isinstance(record, LegacyTask)]
        report.rejected += [record for record in batch if isinstance(record, RejectedRecord)]
        if old:
            await (_count if dry_run else _add)(run, old, report)
        yield report
    yield report


async def _count(run: Run, old: Sequence[LegacyTask], report: ImportReport) -> None:
    existing = await run(lambda imports: imports.find(old))
    report.unchanged += len(existing)
    report.created += len(old) - len(existing)


async def _add(run: Run, old: Sequence[LegacyTask], report: ImportReport) -> None:
    new = await run(lambda imports: imports.add_new(old))
    stored = await run(lambda imports: imports.find(old))
    in_file = [_as_in_file(task, new) for task in old]
    in_table = [_as_in_table(task, stored.get(task.imported_as), new) for task in old]
    if in_file != in_table:
        raise Conflict(
            "The imported tasks differ from the file.",
            hint="They may have been changed at the same time. Import the file again: "
            "tasks already imported stay unchanged.",
        )
    report.checksum = hashlib.sha256(
        report.checksum.encode() + msgspec.json.encode(in_table)
    ).hexdigest()
    report.created += len(new)
    report.unchanged += len(old) - len(new)


def _as_in_file(task: LegacyTask, new: set[bytes]) -> tuple[Any, ...]:
    """The whole task if it is new, else only its identity: its owner may have changed it."""
    if task.imported_as not in new:
        return (task.imported_as,)
    return tuple(
        to_timestamp_text(value) if isinstance(value, datetime) else value for value in task
    )


def _as_in_table(
    task: LegacyTask, row: ImportedRow | None, new: set[bytes]
) -> tuple[Any, ...] | None:
    if row is None:
        return None
    if task.imported_as not in new:
        return (row.imported_as,)
    return tuple(
        None if value is None and name in {"created_at", "updated_at"} else getattr(row, name)
        for name, value in task._asdict().items()
    )

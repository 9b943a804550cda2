"""Reads a row of a `pg_stat_progress_*` view. Columns differ between PostgreSQL 13 and 18."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from db.workbench.live.values import Progress, ProgressUnit

VIEWS = ("copy", "create_index", "vacuum", "cluster", "analyze")
"""The views `pg_stat_progress_<name>`; PostgreSQL 13 has no view of COPY."""


class _Count(NamedTuple):
    """The columns that count a phase. `total` is empty if PostgreSQL gives none."""

    unit: str
    done: str
    total: str = ""


_HEAP = _Count(ProgressUnit.BLOCKS, "heap_blks_scanned", "heap_blks_total")
_INDEXES = _Count(ProgressUnit.INDEXES, "indexes_processed", "indexes_total")  # from 17
_SAMPLE = _Count(ProgressUnit.BLOCKS, "sample_blks_scanned", "sample_blks_total")
_BUILT = _Count(ProgressUnit.INDEXES, "index_rebuild_count")
_BYTES = _Count(ProgressUnit.BYTES, "bytes_processed", "bytes_total")

_BY_PHASE = {
    "scanning heap": _HEAP,
    "vacuuming indexes": _INDEXES,
    "vacuuming heap": _Count(ProgressUnit.BLOCKS, "heap_blks_vacuumed", "heap_blks_total"),
    "cleaning up indexes": _INDEXES,
    "seq scanning heap": _HEAP,
    "index scanning heap": _Count(ProgressUnit.ROWS, "heap_tuples_scanned"),
    "writing new heap": _Count(ProgressUnit.ROWS, "heap_tuples_written", "heap_tuples_scanned"),
    "rebuilding index": _BUILT,
    "acquiring sample rows": _SAMPLE,
    "acquiring inherited sample rows": _SAMPLE,
    "computing extended statistics": _Count(
        ProgressUnit.STATISTICS, "ext_stats_computed", "ext_stats_total"
    ),
}
_INDEX_BUILD = (
    ("waiting", _Count(ProgressUnit.LOCK_HOLDERS, "lockers_done", "lockers_total")),
    ("tuples", _Count(ProgressUnit.ROWS, "tuples_done", "tuples_total")),
    ("scanning", _Count(ProgressUnit.BLOCKS, "blocks_done", "blocks_total")),
)
"""Counts by a word of the phase, whose name contains that of the access method."""


def progress_of(view: str, row: Mapping[str, Any]) -> Progress:
    """`view` is one of VIEWS. Counters of earlier phases stay in the row and are ignored."""
    if view == "copy":
        return _counted(str(row.get("command") or "COPY"), "copying rows", _BYTES, row)
    command = str(row.get("command") or view.upper().replace("_", " "))
    phase = str(row.get("phase") or "")
    count = _BY_PHASE.get(phase)
    if view == "create_index":
        count = next((count for word, count in _INDEX_BUILD if word in phase), None)
    return Progress(command, phase) if count is None else _counted(command, phase, count, row)


def _counted(command: str, phase: str, count: _Count, row: Mapping[str, Any]) -> Progress:
    done, total = row.get(count.done), row.get(count.total)
    if not isinstance(done, int):
        return Progress(command, phase)
    known = isinstance(total, int) and total > 0
    return Progress(command, phase, count.unit, done, total if known else None)

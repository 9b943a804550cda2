"""Rows of the progress views of PostgreSQL 13 to 18."""

from typing import Any

import pytest

from db.workbench.live.progress import progress_of
from db.workbench.live.sample_sql import sample_sql
from db.workbench.live.values import Progress

VACUUM_13 = {
    "phase": "vacuuming indexes",
    "heap_blks_total": 80,
    "heap_blks_scanned": 80,
    "heap_blks_vacuumed": 0,
    "max_dead_tuples": 291,
}
VACUUM_18 = VACUUM_13 | {"indexes_total": 4, "indexes_processed": 1, "delay_time": 0}
INDEX = {
    "command": "CREATE INDEX",
    "lockers_total": 0,
    "lockers_done": 0,
    "blocks_total": 900,
    "blocks_done": 300,
    "tuples_total": 5_000,
    "tuples_done": 1_250,
}
CLUSTER = {"command": "VACUUM FULL", "heap_tuples_scanned": 8, "heap_tuples_written": 2}


@pytest.mark.parametrize(
    ("view", "row", "progress", "percent"),
    [
        ("vacuum", VACUUM_13, ("VACUUM", "vacuuming indexes", None, None, None), None),
        ("vacuum", VACUUM_18, ("VACUUM", "vacuuming indexes", "INDEXES", 1, 4), 25.0),
        (
            "create_index",
            INDEX | {"phase": "building index: scanning table"},
            ("CREATE INDEX", "building index: scanning table", "BLOCKS", 300, 900),
            33.3,
        ),
        (
            "create_index",
            INDEX | {"phase": "building index: loading tuples in tree"},
            ("CREATE INDEX", "building index: loading tuples in tree", "ROWS", 1_250, 5_000),
            25.0,
        ),
        (
            "cluster",
            CLUSTER | {"phase": "writing new heap"},
            ("VACUUM FULL", "writing new heap", "ROWS", 2, 8),
            25.0,
        ),
        (
            "cluster",
            CLUSTER | {"phase": "swapping relation files"},
            ("VACUUM FULL", "swapping relation files", None, None, None),
            None,
        ),
        (
            "analyze",
            {"phase": "acquiring sample rows", "sample_blks_total": 10, "sample_blks_scanned": 11},
            ("ANALYZE", "acquiring sample rows", "BLOCKS", 11, 10),
            100.0,
        ),
        (
            "copy",
            {"command": "COPY FROM", "type": "FILE", "bytes_processed": 1, "bytes_total": 3},
            ("COPY FROM", "copying rows", "BYTES", 1, 3),
            33.3,
        ),
        (
            "copy",
            {"command": "COPY TO", "type": "PIPE", "bytes_processed": 7, "bytes_total": 0},
            ("COPY TO", "copying rows", "BYTES", 7, None),
            None,
        ),
        ("vacuum", {"phase": None}, ("VACUUM", "", None, None, None), None),
    ],
)
def test_progress_counts_the_present_phase(
    view: str, row: dict[str, Any], progress: tuple[Any, ...], percent: float | None
) -> None:
    assert progress_of(view, row) == Progress(*progress)
    assert progress_of(view, row).percent == percent


def test_sample_reads_only_views_that_exist() -> None:
    """PostgreSQL 13 has neither the view of COPY nor `pg_locks.waitstart`."""
    names = {f"pg_stat_progress_{view}" for view in ("create_index", "vacuum", "analyze")}
    old = sample_sql(names, {1})
    assert "pg_stat_progress_vacuum" in old
    assert not any(absent in old for absent in ("progress_copy", "progress_cluster", "waitstart"))
    assert "waitstart" in sample_sql({"waitstart"}, {1})
    assert "pg_stat_progress" not in sample_sql(set(), {1})

import gc

import pytest

from db.kit.lists.partial_rows import partial_row
from db.storage import FolderRow
from db.tasks import TaskRow


def test_partial_row_has_the_named_columns_in_the_order_of_the_row() -> None:
    kind = partial_row(TaskRow, frozenset({"version", "title"}))
    row = tuple.__new__(kind, ("Milk", 3))
    assert isinstance(row, TaskRow)
    assert (kind._fields, row.title, row.version) == (("title", "version"), "Milk", 3)
    assert row._asdict() == {"title": "Milk", "version": 3}


def test_partial_row_refuses_to_read_other_columns() -> None:
    row = tuple.__new__(partial_row(TaskRow, frozenset({"title"})), ("Milk",))
    with pytest.raises(AttributeError, match="the column 'completed' was not selected"):
        _ = row.completed


def test_partial_row_with_all_columns_is_the_row_itself() -> None:
    assert partial_row(FolderRow, frozenset(FolderRow._fields)) is FolderRow


def test_partial_row_has_its_columns_although_garbage_is_collected_meanwhile() -> None:
    make = partial_row.__wrapped__
    thresholds = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    try:
        kinds = [make(TaskRow, frozenset({"title", "version"})) for _ in range(20)]
    finally:
        gc.set_threshold(*thresholds)
    rows = [tuple.__new__(kind, ("Milk", 3)) for kind in kinds]
    assert {(row.title, row.version) for row in rows} == {("Milk", 3)}

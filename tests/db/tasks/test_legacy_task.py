import json
from datetime import UTC, datetime
from typing import Any

import pytest

from db.tasks import LegacyTask, RejectedRecord, parse_legacy_tasks


def read(*records: Any) -> list[LegacyTask | RejectedRecord]:
    return list(parse_legacy_tasks([json.dumps(records)]))


def one(**record: Any) -> LegacyTask:
    (found,) = read({"title": "x"} | record)
    assert isinstance(found, LegacyTask), found
    return found


def reason(record: Any) -> str:
    (found,) = read(record)
    assert isinstance(found, RejectedRecord), found
    return found.reason


def test_record_is_validated_by_task_rules() -> None:
    task = one(id=1, title="  Feed \n", description=" ", category="ignored")
    assert (task.title, task.description, task.completed) == ("Feed", None, False)
    assert (task.created_at, task.updated_at) == (None, None)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (None, "not an object"),
        ("buy milk", "not an object"),
        ([], "not an object"),
        ({}, "`title` is empty"),
        ({"title": None}, "`title` is empty"),
        ({"title": " "}, "`title` is empty"),
        ({"title": 5}, "`title` is not a string"),
        ({"title": "x" * 201}, "201 characters; the limit is 200"),
        ({"title": "half \ud800"}, "cannot be stored"),
        ({"title": "x", "description": "x" * 1001}, "1001 characters; the limit is 1000"),
        ({"title": "x", "description": {}}, "`description` is not a string"),
        ({"title": "x", "id": [1]}, "`id` is neither"),
        ({"title": "x", "id": True}, "`id` is neither"),
        ({"title": "x", "done": "perhaps"}, "`done` is not a boolean"),
        ({"title": "x", "completed": 2}, "`completed` is not a boolean"),
        ({"title": "x", "completed": []}, "`completed` is not a boolean"),
        ({"title": "x", "created_at": "yesterday"}, "`created_at` is not a valid time"),
        ({"title": "x", "updated_at": True}, "`updated_at` is not a valid time"),
        ({"title": "x", "created_at": 1e300}, "`created_at` is not a valid time"),
        ({"title": "x", "created_at": 10**400}, "`created_at` is not a valid time"),
        ({"title": "x", "created_at": float("nan")}, "`created_at` is not a valid time"),
        ({"title": "x", "created_at": "9999-12-31T23:59:59"}, "`created_at` is not a valid time"),
        ({"title": "x", "created_at": "0001-01-01T00:00+14:00"}, "not a valid time"),
    ],
)
def test_record_rejection_names_reason(record: Any, said: str) -> None:
    assert said in reason(record)


def test_record_rejection_has_index_and_keeps_others() -> None:
    found = read({"title": "a"}, {"title": ""}, {"title": "c"})
    assert [isinstance(record, LegacyTask) for record in found] == [True, False, True]
    assert isinstance(found[1], RejectedRecord)
    assert found[1].index == 1


def test_broken_file_is_last_rejection() -> None:
    first, broken = parse_legacy_tasks(['[{"title": "a"}, {"title": '])
    assert isinstance(first, LegacyTask)
    assert isinstance(broken, RejectedRecord)
    assert broken.index == 1
    assert "line 1, column 28" in broken.reason


@pytest.mark.parametrize("name", ["completed", "done"])
@pytest.mark.parametrize("value", [True, 1, "true", "1", "YES", " True "])
def test_completed_accepts_true_values(name: str, value: Any) -> None:
    assert one(**{name: value}).completed


@pytest.mark.parametrize("name", ["completed", "done"])
@pytest.mark.parametrize("value", [False, 0, None, "", "False", "0", " no "])
def test_completed_accepts_false_values(name: str, value: Any) -> None:
    assert not one(**{name: value}).completed


def test_completed_takes_precedence_over_done() -> None:
    assert one(completed=False, done=True).completed is False


@pytest.mark.parametrize(
    "moment",
    [
        "2024-05-31T12:00:00Z",
        "2024-05-31T12:00:00+00:00",
        "2024-05-31T14:00:00.000000+02:00",
        "2024-05-31T12:00:00",
        "2024-05-31 12:00:00",
        1717156800,
        1717156800.0,
        1717156800000,
    ],
)
def test_times_accept_several_formats(moment: Any) -> None:
    task = one(created_at=moment)
    assert task.created_at == task.updated_at == datetime(2024, 5, 31, 12, tzinfo=UTC)


def test_identity_is_equal_for_equal_records_only() -> None:
    record = {"id": 1, "title": "Feed", "description": "hay", "created_at": "2024-05-31T12:00:00"}
    known = one(**record).imported_as
    assert one(**record | {"id": "1"}).imported_as == known
    assert one(**record | {"completed": True, "updated_at": "2025-01-01"}).imported_as == known
    for change in (
        {"id": 2},
        {"id": None},
        {"title": "Wash"},
        {"description": None},
        {"created_at": None},
    ):
        assert one(**record | change).imported_as != known


def test_identity_of_duplicates_includes_their_count() -> None:
    pair = [{"title": "Feed"}, {"title": "Wash"}, {"title": "Feed"}]
    first = [task.imported_as for task in read(*pair) if isinstance(task, LegacyTask)]
    assert len(set(first)) == 3
    assert [task.imported_as for task in read(*pair) if isinstance(task, LegacyTask)] == first

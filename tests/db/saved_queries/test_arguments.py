import pytest

from db.errors import BadInput
from db.kit.base import new_id
from db.saved_queries import SavedCall, SavedParameter, bind_arguments

SINCE = SavedParameter("since", "date")
MOST = SavedParameter("most", None, 10)
NOTE = SavedParameter("note", None, None)


def call(positional: list[object] | None = None, **named: object) -> SavedCall:
    return SavedCall(new_id(), parameters=positional, named_parameters=named or None)


def test_arguments_are_taken_by_position_by_name_or_from_the_defaults() -> None:
    declared = [SINCE, MOST, NOTE]
    assert bind_arguments(declared, call(["2026-01-01"])) == ["2026-01-01", 10, None]
    assert bind_arguments(declared, call([None, 5, "x"])) == [None, 5, "x"]
    assert bind_arguments(declared, call(since=None, note="x")) == [None, 10, "x"]
    assert bind_arguments([], call([1, 2])) == [1, 2]
    assert bind_arguments([], call()) == []


@pytest.mark.parametrize(
    ("given", "message", "field"),
    [
        (call(), "has no value for `since`.", "namedParameters"),
        (call(most=1), "has no value for `since`.", "namedParameters"),
        (call(since=1, until=2), "has no parameter `until`.", "namedParameters"),
        (call([1, 2, 3]), "has 3 values, and the saved query 2", "parameters"),
        (call([1], since=1), "Both `parameters` and `namedParameters`", "namedParameters"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(given: SavedCall, message: str, field: str) -> None:
    with pytest.raises(BadInput) as refused:
        bind_arguments([SINCE, MOST], given)
    assert message in refused.value.message
    assert refused.value.field == field

from uuid import UUID

import pytest

from db.errors import BadInput
from graph.kit.ids import NameKey, _by_prefix, id_of, named_id, parse_id
from graph.schema import schema

core = schema._schema
DIGITS = "01a1fd3da4ee7bdf9777dda1d26a3def"


def test_id_round_trips() -> None:
    for row_id in (UUID(DIGITS), UUID(int=1)):
        assert parse_id("task", id_of("task", row_id)) == row_id


@pytest.mark.parametrize(
    "value",
    [
        "",
        "task",
        "task_",
        f"task_{DIGITS[1:]}",
        f"task_{DIGITS}0",
        f"task_{DIGITS}\n",
        f"task_{DIGITS.upper()}",
        f"task_{UUID(DIGITS)}",
        f"task_{'٣' * 32}",
        f"task_0x{DIGITS[2:]}",
        f"task_{DIGITS[:16]}_{DIGITS[17:]}",
        f"bucket_{DIGITS}",
    ],
)
def test_id_of_other_type_is_refused(value: str) -> None:
    with pytest.raises(BadInput, match="expected `task_…`"):
        parse_id("task", value)


def test_error_of_an_id_names_the_type_of_the_schema() -> None:
    """Prefixes are short: `conn` and `signin` are no words of the schema."""
    with pytest.raises(BadInput, match="the ID of a `DatabaseConnection`: expected `conn_…`"):
        parse_id("conn", f"run_{DIGITS}")
    assert {kind.name for kind in _by_prefix.values()} <= core.type_map.keys()


@pytest.mark.parametrize("names", [("public", "orders"), ("ü", "a_b"), ('"', "x" * 63)])
def test_named_id_round_trips(names: tuple[str, ...]) -> None:
    key = NameKey(UUID(DIGITS), names)
    assert _by_prefix["table"].parse(named_id("table", key), argument="id") == key


@pytest.mark.parametrize(
    "value",
    [
        "",
        DIGITS,
        f"{DIGITS}_",
        f"{DIGITS}_YQ",  # one name
        f"{DIGITS}_YQBiAGM",  # three
        f"{DIGITS}_YQA",  # the second is empty
        f"{DIGITS}_YQBi=",
        f"{DIGITS}_YQBj!",
        f"{DIGITS}_YQBjü",
        f"{DIGITS}_YQBh\n",
        f"{DIGITS}_YQD_",  # no UTF-8
        f"{DIGITS}_YQBk" + "ZGRk" * 600,
        f"{DIGITS[1:]}_YQBi",
    ],
)
def test_changed_named_id_is_refused(value: str) -> None:
    with pytest.raises(BadInput, match="expected `table_…`"):
        _by_prefix["table"].parse(f"table_{value}", argument="id")


def test_named_id_has_one_spelling() -> None:
    """Base64 ignores the last bits, and a client's cache would hold one object twice."""
    found = _by_prefix["table"].parse(f"table_{DIGITS}_YQBi", argument="id")
    assert found == NameKey(UUID(DIGITS), ("a", "b"))
    with pytest.raises(BadInput):
        _by_prefix["schema"].parse(f"schema_{DIGITS}_YR", argument="id")

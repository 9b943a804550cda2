"""The form in which clients keep a position."""

import pytest

from db.postgres.standbys.positions import format_position, mark_of, parse_position

MARK = mark_of("7301234567890123456")


@pytest.mark.parametrize("position", [0, 1, 0x16B374D848, 2**64 - 1])
def test_position_survives_its_form(position: int) -> None:
    assert parse_position(format_position(position, MARK), MARK) == position


def test_position_of_another_cluster_is_none() -> None:
    assert parse_position(format_position(1, mark_of("7301234567890123457")), MARK) is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        "new",
        MARK,
        f"{MARK}.",
        f"{MARK}.-1",
        f"{MARK}.{'f' * 17}",
        f"{MARK}.1, {MARK}.2",
        "\u0661",
    ],
)
def test_what_is_no_position_is_none(value: str) -> None:
    assert parse_position(value, MARK) is None

from uuid import UUID

import pytest

from db.errors import BadInput
from graph.kit.ids import id_of, parse_id

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

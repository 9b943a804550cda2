import pytest

from db.errors import BadInput
from db.kit.text_rules import Optional, Required

HOSTILE = "a" + "\u0300\u0327" * 500_000  # NFC would sort these for hours


@pytest.mark.parametrize(
    "rule", [Required("title", max_length=200), Optional("title", max_length=200)]
)
def test_a_text_that_would_take_hours_to_normalise_is_too_long_at_once(
    rule: Required | Optional,
) -> None:
    with pytest.raises(BadInput) as caught:
        rule.checked(HOSTILE)
    assert caught.value.field == "title"


def test_what_composes_into_a_short_text_is_short_enough() -> None:
    assert Required("title", max_length=3).checked("e\u0301" * 3) == "\u00e9" * 3

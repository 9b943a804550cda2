import pytest

from db.errors import BadInput
from db.kit.text_rules import Optional, Required

HOSTILE = "a" + "\u0300\u0327" * 500_000  # NFC would sort these for hours


@pytest.mark.parametrize(
    "rule", [Required("title", max_length=200), Optional("title", max_length=200)]
)
def test_text_rule_checks_length_before_normalization(
    rule: Required | Optional,
) -> None:
    with pytest.raises(BadInput) as caught:
        rule.checked(HOSTILE)
    assert caught.value.field == "title"


def test_text_rule_counts_composed_characters() -> None:
    assert Required("title", max_length=3).checked("e\u0301" * 3) == "\u00e9" * 3

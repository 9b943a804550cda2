"""The form in which clients keep positions."""

import pytest

from db.postgres.standbys.positions import MAX_POSITIONS, PositionCipher

CIPHER = PositionCipher(b"key", system="7301234567890123456")
GOOD = CIPHER.encrypt(1)


@pytest.mark.parametrize("position", [0, 1, 0x16B374D848, 2**64 - 1])
def test_position_survives_its_form(position: int) -> None:
    assert CIPHER.decrypt(CIPHER.encrypt(position)) == position


def test_position_tells_nothing() -> None:
    """Not even whether another one is the same."""
    texts = {CIPHER.encrypt(position) for position in (7, 7, 2**64 - 1)}
    assert len(texts) == 3
    assert {len(text) for text in texts} == {48}


@pytest.mark.parametrize(
    "other",
    [
        PositionCipher(b"key", system="7301234567890123457"),
        PositionCipher(b"another key", system="7301234567890123456"),
    ],
)
def test_position_of_another_cluster_is_none(other: PositionCipher) -> None:
    assert other.decrypt(GOOD) is None


def test_position_that_was_changed_is_none() -> None:
    for bit in range(len(GOOD) * 4):
        changed = int(GOOD, 16) ^ 1 << bit
        assert CIPHER.decrypt(f"{changed:0{len(GOOD)}x}") is None, bit


def test_latest_of_several_positions_counts() -> None:
    texts = [CIPHER.encrypt(position) for position in (5, 9, 7)]
    assert CIPHER.latest(" ".join(texts)) == CIPHER.latest(", ".join(texts)) == 9
    assert CIPHER.latest(" ".join([GOOD] * MAX_POSITIONS)) == 1


NO_POSITIONS = {
    "none": "",
    "of a new client": "new",
    "too short": GOOD[:-2],
    "too long": f"{GOOD}00",
    "two marks": f"{GOOD} -",
    "another sign": f"{GOOD}.1",
    "other digits": "\u0661" * 48,
    "too many": " ".join([GOOD] * (MAX_POSITIONS + 1)),
}


@pytest.mark.parametrize("header", NO_POSITIONS.values(), ids=NO_POSITIONS)
def test_what_is_no_position_is_none(header: str) -> None:
    """Also beside one: it may stand for a later one."""
    assert CIPHER.latest(header) is None

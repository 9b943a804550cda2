"""What users hold is limited for each of them, and for all together."""

import pytest

from db.concurrency.held_bytes import HeldBytes
from db.errors import Overloaded


def test_user_who_holds_too_much_is_refused_until_some_is_released() -> None:
    held = HeldBytes("results", of_one_user=10, total=100)
    held.add("ada", 9)
    held.require_room("ada")
    held.add("ada", 9)
    with pytest.raises(Overloaded, match="Your running operations hold results"):
        held.require_room("ada")
    held.require_room("bob")
    held.release("ada", 9)
    held.require_room("ada")


def test_user_alone_holds_no_more_than_the_total() -> None:
    held = HeldBytes("results", of_one_user=10, total=5)
    held.add("ada", 5)
    with pytest.raises(Overloaded):
        held.require_room("ada")


def test_users_hold_equal_parts_when_all_together_hold_too_much() -> None:
    held = HeldBytes("results", of_one_user=10, total=12)
    held.add("ada", 9)
    held.require_room("ada")
    held.add("bob", 3)
    held.require_room("bob")
    held.require_room("carl")
    with pytest.raises(Overloaded):
        held.require_room("ada")
    held.release("bob", 3)
    held.require_room("ada")

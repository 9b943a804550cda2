"""What the clients of a soak were told of each row, and what the table must hold in the end."""

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import Enum, auto
from typing import NamedTuple
from uuid import UUID, uuid4


class Fate(Enum):
    ABSENT = auto()
    """Never committed, or PostgreSQL said that it was rolled back."""
    PRESENT = auto()
    """Its commit was acknowledged."""
    EITHER = auto()
    """Its commit was sent, and no answer came."""


class Findings(NamedTuple):
    """The numbers of rows that contradict the ledger."""

    missing: int
    unexpected: int
    repeated: int


class Ledger:
    """Each row has an ID of its own, so that a row is never mistaken for another."""

    def __init__(self) -> None:
        self._fates: dict[UUID, Fate] = {}

    def new_row(self) -> UUID:
        row = uuid4()
        self._fates[row] = Fate.ABSENT
        return row

    def settle(self, rows: Iterable[UUID], fate: Fate) -> None:
        for row in rows:
            self._fates[row] = fate

    def count(self, fate: Fate) -> int:
        return Counter(self._fates.values())[fate]

    def compare(self, table: Mapping[UUID, int]) -> Findings:
        """`table` has the number of times that each ID is in the table."""
        present = [row for row, fate in self._fates.items() if fate is Fate.PRESENT]
        allowed = {row for row, fate in self._fates.items() if fate is not Fate.ABSENT}
        return Findings(
            missing=sum(row not in table for row in present),
            unexpected=sum(row not in allowed for row in table),
            repeated=sum(count > 1 for count in table.values()),
        )

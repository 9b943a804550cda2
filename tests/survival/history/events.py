"""What clients did and what they were told: the history that the checker judges."""

import math
from collections.abc import Sequence
from enum import Enum, auto
from typing import NamedTuple, TypeAlias


class Outcome(Enum):
    DONE = auto()
    """Acknowledged."""
    REFUSED = auto()
    """The server said that nothing was changed."""
    UNKNOWN = auto()
    """No answer, or one that says that the change may have been made."""


class Append(NamedTuple):
    """Adds a value to the end of a list. No other append has this value."""

    key: str
    value: int


class ReadList(NamedTuple):
    key: str
    values: tuple[int, ...]


class Write(NamedTuple):
    """Replaces the value of a register. No other write has this value.

    `version` is the number that the server gave the value. It is None without an answer.
    """

    key: str
    value: str
    version: int | None = None


class ReadRegister(NamedTuple):
    key: str
    value: str
    version: int


Step: TypeAlias = Append | ReadList | Write | ReadRegister


class Transaction(NamedTuple):
    """Steps that happen at once or not at all, with the times when they were sent and answered.

    The transactions of one `process` follow each other.
    """

    process: int
    began: float
    ended: float
    outcome: Outcome
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        steps = ", ".join(map(_text, self.steps))
        return f"[client {self.process} {self.outcome.name} {self.began:.3f} {steps}]"


History: TypeAlias = Sequence[Transaction]
NEVER = math.inf
"""The end of a transaction without an answer."""


class Anomaly(NamedTuple):
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


def _text(step: Step) -> str:
    match step:
        case Append(key, value):
            return f"append {key} {value}"
        case ReadList(key, values):
            shown = values if len(values) <= 6 else ("...", *values[-5:])
            return f"read {key} = {' '.join(map(str, shown))}"
        case Write(key, value, version):
            return f"write {key} {value}@{version}"
        case ReadRegister(key, value, version):
            return f"read {key} = {value}@{version}"

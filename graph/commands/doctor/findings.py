"""What a check has found."""

from enum import Enum
from typing import NamedTuple

from db.errors import HowdahError


class CheckState(Enum):
    OK = "ok"
    ATTENTION = "attention"
    BROKEN = "broken"


class Finding(NamedTuple):
    state: CheckState
    subject: str
    message: str
    hint: str = ""


def broken(subject: str, error: HowdahError) -> Finding:
    return Finding(CheckState.BROKEN, subject, error.message, error.hint)

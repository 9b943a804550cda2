"""What a process counts about its reads on standbys."""

from collections import Counter
from enum import StrEnum


class Reason(StrEnum):
    """Why a standby is passed over."""

    UNREACHABLE = "unreachable"
    """It refuses connections, or does not answer."""
    NOT_STANDBY = "not_standby"
    """It accepts changes: it was promoted, or never was a standby."""
    OTHER_CLUSTER = "other_cluster"
    POOLED = "pooled"
    """A pooler is in between, which may lead each statement to another server."""
    BEHIND = "behind"
    """It lacks what the client has seen, or what the primary had MAX_LAG_S ago."""
    BUSY = "busy"
    """All connections of its pool are in use."""


class Fallback(StrEnum):
    """Why a read was repeated on the primary."""

    CONFLICT = "conflict"
    """The standby cancelled the read, because replay removes rows that it needs."""
    LOST = "lost"
    """The standby was lost, or did not answer its polls."""
    SLOW = "slow"
    """The read took longer than READ_S."""
    BUSY = "busy"
    OTHER = "other"
    """Also the errors of the statement itself, which the primary repeats."""


class StandbyFigures:
    def __init__(self) -> None:
        self.operations: Counter[str] = Counter({"primary": 0, "standby": 0})
        """The queries with a position, by the kind of server that was chosen."""
        self.passed_over: Counter[Reason] = Counter(dict.fromkeys(Reason, 0))
        self.fallbacks: Counter[Fallback] = Counter(dict.fromkeys(Fallback, 0))

"""Immutable values of a sample: progress, waiting, and the sessions that block it."""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Self

import msgspec

MAX_STATEMENT_CHARS = 1_000
"""The statement of another session is cut after this length."""
_HIDDEN = "<insufficient privilege>"


class ProgressUnit(StrEnum):
    BLOCKS = "BLOCKS"
    BYTES = "BYTES"
    ROWS = "ROWS"
    INDEXES = "INDEXES"
    STATISTICS = "STATISTICS"
    LOCK_HOLDERS = "LOCK_HOLDERS"


class Progress(NamedTuple):
    """Progress of the present phase. `done` and `total` count `unit`; None if there is no count."""

    command: str
    phase: str
    unit: str | None = None
    done: int | None = None
    total: int | None = None

    @property
    def percent(self) -> float | None:
        if self.done is None or not self.total:
            return None
        return round(min(100.0, 100 * self.done / self.total), 1)


class OtherSession(msgspec.Struct, frozen=True):
    """A session that holds what a run waits for, or waits for a lock of one of ours.

    `pid` is None for a prepared transaction.
    """

    pid: int | None
    username: str | None
    application_name: str | None
    state: str | None
    statement: str | None
    since: datetime | None

    def shown(self) -> Self:
        """PostgreSQL hides sessions of other users, unless the role has `pg_read_all_stats`."""
        is_hidden = self.statement in {"", _HIDDEN}
        return msgspec.structs.replace(self, statement=None) if is_hidden else self


class Waiting(NamedTuple):
    event_type: str
    event: str
    since: datetime
    blocked_by: tuple[OtherSession, ...]


class LiveSample(NamedTuple):
    """What one backend did when it was sampled."""

    progress: Progress | None = None
    waiting: Waiting | None = None


NOTHING = LiveSample()

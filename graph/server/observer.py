"""Counts operations, and passes those that are due to the operation log."""

import time
from collections import Counter

from db.distributions import SIZES, Distribution, Distributions
from graph.context import Context
from graph.operations import Prepared
from graph.server.operation_log import OperationLog


class OperationObserver:
    """Called by `Operations`. Takes less than a microsecond unless the operation is logged."""

    def __init__(self, log: OperationLog) -> None:
        self.durations: Distributions[tuple[str, str]] = Distributions()
        """Durations of queries and mutations, by root field and code."""
        self.statements = Distribution(SIZES)
        self.refusals: Counter[str] = Counter()
        self.subscriptions: Counter[str] = Counter()
        self.open_subscriptions: Counter[str] = Counter()
        self.log = log

    def ended(self, prepared: Prepared, context: Context, code: str, seconds: float) -> None:
        self.durations[prepared.field, code].add(seconds)
        self.statements.add(context.statements.value)
        log = self.log
        if (seconds >= log.slow_s or log.logs_all) and log.is_due(code, seconds):
            log.write(prepared, context, code, seconds)

    def refused(self, context: Context, code: str) -> None:
        self.refusals[code] += 1
        if self.log.logs_all:
            self.log.write(None, context, code, None)

    def follow(self, prepared: Prepared, context: Context) -> "_Following":
        return _Following(self, prepared, context)


class _Following:
    """A subscription from its request to its end."""

    def __init__(self, observer: OperationObserver, prepared: Prepared, context: Context) -> None:
        self._observer = observer
        self._prepared = prepared
        self._context = context
        self._began = time.perf_counter()
        self._code = "OK"
        self._has_answered = False
        observer.open_subscriptions[prepared.field] += 1

    def note(self, code: str) -> None:
        if not self._has_answered:
            self._has_answered = True
            self._observer.subscriptions[code] += 1
        self._code = code

    def end(self) -> None:
        """A subscription is never slow: its duration is the client's choice."""
        observer = self._observer
        observer.open_subscriptions[self._prepared.field] -= 1
        if not self._has_answered:
            observer.subscriptions[self._code] += 1
        if observer.log.logs_all and observer.log.is_due(self._code, 0.0):
            seconds = time.perf_counter() - self._began
            observer.log.write(self._prepared, self._context, self._code, seconds)

"""One line of the log for an operation: docs/monitoring/index.md describes it. It has no value.

A client chooses the name of an operation, which is a name of GraphQL: letters, digits and `_`.
"""

import logging
import math
from typing import Any

from db.settings import Settings
from graph.context import Context
from graph.operations import Prepared

log = logging.getLogger(__name__)

MAX_NAME_LENGTH = 100


class OperationLog:
    """Logs slow operations, and, if `logs_all`, failed ones and every n-th of the others."""

    def __init__(self, *, slow_s: float, logs_all: bool = False, every: int = 1) -> None:
        self.slow_s = slow_s
        self.logs_all = logs_all
        self._every = every
        self._others = 0

    @classmethod
    def of(cls, settings: Settings) -> "OperationLog":
        if settings.operation_log == "off":
            return cls(slow_s=math.inf)
        return cls(
            slow_s=settings.slow_operation_ms / 1000,
            logs_all=settings.operation_log == "all",
            every=settings.operation_log_every,
        )

    def is_due(self, code: str, seconds: float) -> bool:
        """Whether an operation is logged. Call once for each."""
        if seconds >= self.slow_s:
            return True
        return self.logs_all and (code != "OK" or self._is_sampled())

    def write(
        self, prepared: Prepared | None, context: Context, code: str, seconds: float | None
    ) -> None:
        """`prepared` is None if no operation was chosen."""
        if not log.isEnabledFor(logging.INFO):
            return
        kind = name = field = None
        if prepared is not None:
            kind, field = prepared.kind.value, prepared.field
            named = prepared.operation.definition.name
            name = named and named.value[:MAX_NAME_LENGTH]
        milliseconds = None if seconds is None else round(seconds * 1000, 1)
        viewer = context.viewer
        entry: dict[str, Any] = {
            "name": name,
            "kind": kind,
            "field": field,
            "code": code,
            "milliseconds": milliseconds,
            "viewer": None if viewer is None else viewer.id.hex,
            "address": context.client_address,
            "cost": context.cost,
            "statements": context.statements.value,
        }
        if prepared is None:
            message = f"request refused: {code}"
        else:
            message = f"{kind} {name or field} {code} in {milliseconds} ms"
        extra = {"fields": {"operation": entry}, "request_id": context.request_id}
        log.info(message, extra=extra)

    def _is_sampled(self) -> bool:
        self._others += 1
        return self._others % self._every == 0

"""A span of each statement on Howdah's own database that an operation or a run waits for."""

import re
from functools import lru_cache

from opentelemetry import context as otel_context
from opentelemetry.trace import (
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    get_current_span,
)

from db.postgres.route.sent_statements import SentStatement, callers

TEXT_CHARACTERS = 4_000

_CHANGES = re.compile(r"\b(INSERT|UPDATE|DELETE)\b")
_TABLE = re.compile(r"\b(?:FROM|INTO|UPDATE|JOIN)\s+(?!callers\b)([a-z_]+)\b(?!\()")
"""Not a function, nor the values of the callers that a gathered statement answers."""


class StatementSpans:
    """Observes statements (db.postgres.route.sent_statements)."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def add(self, sent: SentStatement) -> None:
        """Adds the span to the trace of each caller that the statement answers.

        A statement outside of a trace, such as one of a sweep, has no span; nor has one of a task
        that outlives the operation by which it was started.
        """
        contexts = [caller.run(otel_context.get_current) for caller in callers.get()]
        for context in contexts or [otel_context.get_current()]:
            if get_current_span(context).is_recording():
                self._add_to(context, sent, callers=max(len(contexts), 1))

    def _add_to(self, context: otel_context.Context, sent: SentStatement, *, callers: int) -> None:
        summary = summary_of(sent.sql)
        attributes: dict[str, str | int] = {
            "db.system.name": "postgresql",
            "db.operation.name": summary.partition(" ")[0],
            "db.query.summary": summary,
            "db.query.text": sent.sql[:TEXT_CHARACTERS],
        }
        if callers > 1:
            attributes["howdah.statement.callers"] = callers
        if sent.error is not None:
            attributes["db.response.status_code"] = attributes["error.type"] = sent.error
        span = self._tracer.start_span(
            summary,
            context=context,
            kind=SpanKind.CLIENT,
            attributes=attributes,
            start_time=sent.began_ns,
        )
        if sent.error is not None:
            span.set_status(Status(StatusCode.ERROR))
        span.end(sent.ended_ns)


@lru_cache(maxsize=1_000)
def summary_of(sql: str) -> str:
    """The operation and the first table, such as `SELECT tasks`."""
    words = sql.split(maxsplit=1)
    operation = words[0].strip(";").upper() if words else ""
    if operation == "WITH":
        change = _CHANGES.search(sql)
        operation = change[0] if change else "SELECT"
    table = _TABLE.search(sql)
    return f"{operation} {table[1]}" if table else operation

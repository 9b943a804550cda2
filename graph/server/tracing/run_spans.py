"""A span of each run of a user's statement. It does not contain the statement, nor its values."""

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer

from db.runs import RunRow, RunState
from db.workbench.execution.run_executor import Execution
from graph.kit.ids import id_of

_FAULTS = {RunState.INTERRUPTED, RunState.TIMED_OUT, RunState.FAILED}


class RunSpans:
    """Wraps the execution of runs (db.workbench.execution.run_executor)."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    async def around(self, run: RunRow, execution: Execution) -> RunRow | None:
        """A run that started at once belongs to the trace of its operation.

        Others are started by a task of the scheduler or of a session, which serves many operations:
        they begin a trace. `howdah.run.id` is the ID that the API shows.
        """
        started_at_once = run.revision == 1
        with self._tracer.start_as_current_span(
            "run",
            context=None if started_at_once else Context(),
            kind=SpanKind.CLIENT,
            attributes=_attributes_of(run),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            ended = await execution
            if ended is None:  # its end was recorded elsewhere
                return None
            span.set_attribute("howdah.run.state", ended.state)
            span.set_attribute("db.response.returned_rows", ended.row_count)
            if ended.command:
                span.set_attribute("db.operation.name", ended.command)
            if ended.state in _FAULTS:
                error = ended.parsed_error
                cause = (error and (error.sqlstate or error.code)) or ended.state
                span.set_attribute("error.type", cause)
                span.set_status(Status(StatusCode.ERROR))
        return ended


def _attributes_of(run: RunRow) -> dict[str, str]:
    attributes = {
        "db.system.name": "postgresql",
        "howdah.run.id": id_of("run", run.id),
        "user.id": id_of("user", run.owner_id),
    }
    if run.connection_id is not None:
        attributes["howdah.connection.id"] = id_of("conn", run.connection_id)
    if run.session_id is not None:
        attributes["howdah.session.id"] = id_of("session", run.session_id)
    if run.script_id is not None:
        attributes["howdah.script.id"] = id_of("script", run.script_id)
    return attributes

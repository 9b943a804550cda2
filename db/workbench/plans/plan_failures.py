"""Why a statement has no plan, in the form of the errors of runs."""

import msgspec

from db.errors import TimedOut, TooLarge
from db.runs import Failure, RunRow
from db.workbench.sql.explain_text import explain_prefix
from db.workbench.sql.sql_text import first_token, line_and_column

CANCELLED = Failure(
    message="The run that explains the statement was cancelled.",
    sqlstate="57014",
    severity="ERROR",
    hint="Explain it again.",
)
EXPIRED = Failure(
    message="The plan was deleted before it was read.",
    hint="Explain the statement again, and do not delete its run meanwhile.",
)
NOT_A_PLAN = Failure(
    message="The server did not answer with a plan in JSON.",
    hint="Check host and port of the connection: this is not an ordinary PostgreSQL server.",
)


def unexplainable(kind: str, statement: str) -> Failure:
    position = first_token(statement) + 1
    line, column = line_and_column(statement, position)
    hint = (
        "Omit EXPLAIN and its options: `explainQuery` adds them."
        if kind == "EXPLAIN"
        else "Explain a SELECT, INSERT, UPDATE, DELETE, MERGE, VALUES, EXECUTE, DECLARE or CREATE "
        "TABLE AS. Utility statements have no plan; run them with `executeQuery`."
    )
    return Failure(
        message=f"{kind[:63]} cannot be explained.",
        sqlstate="42601",
        severity="ERROR",
        hint=hint,
        position=position,
        line=line,
        column=column,
    )


def too_large(reason: str) -> Failure:
    return Failure(
        message=f"The plan has {reason}.",
        code=TooLarge.code,
        hint="Explain a statement on fewer partitions, or run EXPLAIN with `executeQuery` and "
        "download its rows.",
    )


def not_ready(seconds: float) -> Failure:
    return Failure(
        message=f"The plan was not ready after {seconds:g} seconds, so its run was cancelled.",
        code=TimedOut.code,
        hint="Explain it again when fewer runs wait, or without `analyze`. For a statement that "
        "takes longer, run EXPLAIN with `executeQuery`.",
    )


def in_statement(failure: Failure, run: RunRow) -> Failure:
    """Counts the position in the statement of the user, without the EXPLAIN before it."""
    if failure.position is None:
        return failure
    prefix = explain_prefix(run.statement)
    position = failure.position - len(prefix)
    if position < 1:
        return msgspec.structs.replace(failure, position=None, line=None, column=None)
    line, column = line_and_column(run.statement[len(prefix) :], position)
    return msgspec.structs.replace(failure, position=position, line=line, column=column)

"""Which statement comes next in a script, and what its outcomes mean."""

import uuid
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from db.kit.base import OwnerId
from db.runs import Failure, RunRow, RunState
from db.scripts import OnError, ScriptState, ScriptTransaction
from db.workbench.scripts.script_steps import ScriptSteps, Step, failure_in_script
from db.workbench.scripts.splitter import split_script

STOP, CONTINUE = OnError.STOP, OnError.CONTINUE
EACH, SINGLE = ScriptTransaction.EACH, ScriptTransaction.SINGLE
SAVE, AGAIN = "SAVEPOINT howdah_script", "RELEASE howdah_script; SAVEPOINT howdah_script"
UNDO = "ROLLBACK TO howdah_script"
A_ROW = dict.fromkeys(RunRow._fields, None) | {
    "id": uuid.UUID(int=1),
    "owner_id": OwnerId(uuid.UUID(int=2)),
    "created_at": datetime.now(UTC),
}


def ended(statement: str) -> RunRow:
    """A run of `bad` has failed; each other has succeeded."""
    values: dict[str, Any] = A_ROW | {"statement": statement, "state": RunState.SUCCEEDED}
    if statement.startswith("bad"):
        failure = Failure(message="It is bad.", position=1, line=1, column=1)
        values |= {"state": RunState.FAILED, "error": msgspec.json.encode(failure).decode()}
    return RunRow(**values)


def steps_of(script: str, on_error: OnError, transaction: ScriptTransaction) -> ScriptSteps:
    return ScriptSteps(script, split_script(script), on_error=on_error, transaction=transaction)


def drive(steps: ScriptSteps) -> list[tuple[str | None, str]]:
    """What is sent: preludes and statements."""
    sent = []
    while (step := steps.next_step()) is not None:
        before = [*(["BEGIN"] if step.begins else []), *([step.prelude] if step.prelude else [])]
        sent.append(("; ".join(before) or None, step.statement))
        steps.record(step, ended(step.statement))
    return sent


@pytest.mark.parametrize(
    ("on_error", "transaction", "sent", "state", "counts"),
    [
        (STOP, EACH, [(None, "a"), (None, "bad")], "FAILED", (1, 1, 1)),
        (CONTINUE, EACH, [(None, "a"), (None, "bad"), (None, "c")], "SUCCEEDED", (2, 2, 1)),
        (STOP, SINGLE, [("BEGIN", "a"), (None, "bad"), (None, "ROLLBACK")], "FAILED", (1, 1, 1)),
        (
            CONTINUE,
            SINGLE,
            [(f"BEGIN; {SAVE}", "a"), (AGAIN, "bad"), (UNDO, "c"), (None, "COMMIT")],
            "SUCCEEDED",
            (2, 2, 1),
        ),
    ],
)
def test_steps_send_statements_and_what_the_transaction_needs(
    on_error: OnError,
    transaction: ScriptTransaction,
    sent: list[tuple[str | None, str]],
    state: str,
    counts: tuple[int, int, int],
) -> None:
    steps = steps_of("a; bad; c", on_error, transaction)
    assert drive(steps) == sent
    assert (steps.state, tuple(steps.progress)) == (state, counts)


def test_steps_undo_a_failed_last_statement_before_commit() -> None:
    steps = steps_of("a; bad", CONTINUE, SINGLE)
    assert drive(steps)[-1] == (UNDO, "COMMIT")
    assert steps.state == ScriptState.SUCCEEDED


def test_cancelled_steps_roll_back_what_has_begun() -> None:
    steps = steps_of("a; b", STOP, SINGLE)
    first = steps.next_step()
    assert first is not None
    steps.is_cancelled = True
    assert steps.next_step() is None  # nothing was sent
    steps.is_cancelled = False
    steps.record(first, ended("a"))
    steps.is_cancelled = True
    assert drive(steps) == [(None, "ROLLBACK")]
    assert steps.state == ScriptState.CANCELLED


def test_failed_commit_fails_the_script() -> None:
    steps = steps_of("a", STOP, SINGLE)
    first = steps.next_step()
    assert first is not None
    steps.record(first, ended("a"))
    commit = steps.next_step()
    assert commit == Step("COMMIT")
    steps.record(commit, ended("bad commit"))
    assert (steps.state, steps.next_step()) == (ScriptState.FAILED, None)
    assert steps.failure is not None
    assert steps.failure.script_position is None


def test_failure_is_placed_in_the_script() -> None:
    script = "a;\n  SELECT ö,\n nope"
    at = split_script(script)[1]
    for line, column, position, place in ((1, 8, 8, (2, 10)), (2, 2, 12, (3, 2))):
        failure = Failure(message="", position=position, line=line, column=column)
        found = failure_in_script(failure, at)
        assert (found.script_line, found.script_column) == place
        assert found.script_position is not None
        assert script[found.script_position - 1] == script[at.start :][position - 1]

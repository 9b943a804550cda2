import gc
import logging
from weakref import WeakSet

import pytest

from db.concurrency import retry_log
from db.concurrency.retry_log import RetryLog
from db.errors import Unavailable

log = logging.getLogger("tests.retries")


@pytest.fixture(autouse=True)
def no_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests of this process may have left tasks that failed."""
    monkeypatch.setattr(RetryLog, "_failing", WeakSet())


def fail(task: RetryLog, error: Exception) -> None:
    with task.attempt():
        raise error


def down() -> Unavailable:
    return Unavailable("The database is down.", hint="Wait.")


def test_outage_is_one_warning_for_all_tasks_and_retries(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tasks = [RetryLog(log, f"do {number}") for number in range(3)]
    for _ in range(5):
        for task in tasks:
            fail(task, down())
    [warning] = caplog.records
    assert warning.getMessage() == "cannot do 0, will retry: The database is down."
    assert (warning.levelno, warning.exc_info) == (logging.WARNING, None)
    for task in tasks:
        with task.attempt():
            pass
    fail(tasks[1], down())
    assert caplog.messages[-2:] == [
        "can do 2 again",
        "cannot do 1, will retry: The database is down.",
    ]


def test_bug_has_one_traceback_until_the_task_succeeds(caplog: pytest.LogCaptureFixture) -> None:
    task = RetryLog(log, "count")
    for _ in range(3):
        fail(task, KeyError("x"))
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    task.succeeded()
    fail(task, KeyError("x"))
    assert len(caplog.records) == 2


def test_outage_is_one_warning_whatever_the_tasks_notice_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fail(RetryLog(log, "read"), Unavailable("The connection dropped.", hint="Wait."))
    fail(RetryLog(log, "count"), down())
    assert caplog.messages == ["cannot read, will retry: The connection dropped."]


def test_task_that_never_succeeds_hides_no_later_outage(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have the code UNAVAILABLE."""
    monkeypatch.setattr(retry_log, "OUTAGE_BEGINS_S", 0)
    sweep, heartbeat = RetryLog(log, "sweep files"), RetryLog(log, "send a heartbeat")
    for _ in range(3):
        fail(sweep, Unavailable("The object store failed.", hint="Retry."))
        fail(heartbeat, down())
    assert caplog.messages == [
        "cannot sweep files, will retry: The object store failed.",
        "cannot send a heartbeat, will retry: The database is down.",
    ]


def test_task_that_ended_while_it_failed_hides_no_later_outage(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fail(RetryLog(log, "sweep"), down())
    gc.collect()  # the traceback of the error refers to the task
    fail(RetryLog(log, "watch"), down())
    assert len(caplog.records) == 2

"""Decides how a run has ended: its statement may fail, be stopped, or lose its connection."""

import asyncio

import msgspec
import psycopg

from db.errors import HowdahError
from db.runs import CancelOutcome, Ending, Failure, RunState
from db.workbench.connections.bounds.read_budget import RowTooLarge, TooManySettings, UnexpectedRows
from db.workbench.execution.reading import protocol
from db.workbench.execution.run_failures import (
    CONNECTION_LOST,
    LOST_BEFORE_STATEMENT,
    NOT_STORED_IN_TIME,
    SERVER_STOPPED,
    TOO_MANY_SETTINGS,
    UNEXPECTED_ROWS,
    not_sent,
    not_stored,
    row_too_large,
    timed_out,
)


def ending_of(
    work: "asyncio.Task[Ending]", *, was_sent: bool, fatal: Failure | None = None
) -> Ending:
    """The ending that the task returned or raised, without regard to a stop.

    `fatal` is the error with which the server has ended the connection, if it sent one.
    """
    if work.cancelled():
        return Ending(state=RunState.FAILED, error=CONNECTION_LOST)
    match work.exception():
        case None:
            return work.result()
        case HowdahError() as error:
            if not was_sent:
                return Ending(state=RunState.FAILED, error=not_sent(error))
            return Ending(state=RunState.FAILED, error=not_stored(error), without_rows=True)
        case psycopg.errors.QueryCanceled():
            return Ending(
                state=RunState.FAILED,
                error=Failure(message="", sqlstate=protocol.CANCELLED_SQLSTATE),
            )
        case psycopg.Error() as error:
            return _lost(error, fatal, was_sent=was_sent)
        case BaseException() as error:
            raise error


def apply_stop(
    ending: Ending, stop_state: str, *, timeout_ms: int, error: Failure | None = None
) -> bool:
    """Sets the state for which the run was stopped, unless the statement ended by itself.

    Returns:
        Whether the state was set.
    """
    if ending.state == RunState.SUCCEEDED or not stop_state or not _was_stopped(ending):
        return False
    ending.state = stop_state
    ending.error = error
    if error is not None:
        return True
    if stop_state == RunState.TIMED_OUT:
        ending.error = timed_out(timeout_ms)
    elif stop_state == RunState.INTERRUPTED:
        ending.error = SERVER_STOPPED
    return True


def check_stored(ending: Ending, storing: "asyncio.Task[None]", stop_state: str) -> None:
    """Ends the run when the store did not finish in time; the statement's changes are committed."""
    if not storing.done():
        stopped = RunState.FAILED if stop_state == RunState.TIMED_OUT else stop_state
        ending.state, ending.error = stopped, NOT_STORED_IN_TIME
        ending.without_rows = ending.state == RunState.FAILED
    elif isinstance(error := storing.exception(), HowdahError):
        ending.state, ending.error, ending.without_rows = RunState.FAILED, not_stored(error), True
    else:
        storing.result()
    if ending.state == RunState.CANCELLED:
        ending.cancel_outcome = CancelOutcome.CANCELLED


def _was_stopped(ending: Ending) -> bool:
    """Whether the error comes from a stop, and not from the statement itself."""
    error = ending.error
    if error is None:
        return True
    return error.code is None and error.sqlstate in {None, protocol.CANCELLED_SQLSTATE, "57P01"}


def _lost(error: psycopg.Error, fatal: Failure | None, *, was_sent: bool) -> Ending:
    if isinstance(error, RowTooLarge):
        failure = row_too_large(error.limit)
        return Ending(state=RunState.FAILED, error=failure, without_rows=True)
    if isinstance(error, UnexpectedRows):
        return Ending(state=RunState.FAILED, error=UNEXPECTED_ROWS, without_rows=True)
    if isinstance(error, TooManySettings):
        return Ending(state=RunState.FAILED, error=TOO_MANY_SETTINGS)
    if not was_sent:
        return Ending(state=RunState.FAILED, error=_lost_before_statement(error))
    return Ending(state=RunState.FAILED, error=fatal or CONNECTION_LOST)


def _lost_before_statement(error: psycopg.Error) -> Failure:
    """Repeats the reason of the server, if it gave one."""
    if error.sqlstate is None or error.diag.message_primary is None:
        return LOST_BEFORE_STATEMENT
    reason = protocol.notice_of(error.diag)
    return msgspec.structs.replace(
        LOST_BEFORE_STATEMENT,
        message=reason.message,
        sqlstate=reason.sqlstate,
        severity=reason.severity,
    )

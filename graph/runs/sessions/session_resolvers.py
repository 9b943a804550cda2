"""Queries, mutations and subscriptions on database sessions."""

import contextlib
from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

import strawberry

from db.database_sessions import DatabaseSessionRow, DatabaseSessions
from db.events import WatchClosed
from db.kit.lists.paging import Window
from db.runs import RunRow
from db.workbench.sessions.open_request import OpenRequest
from graph.auth import SignedIn
from graph.context import Context, Info
from graph.kit.fields import argument, mutation, provided_fields, query, subscription
from graph.kit.followed_rows import require_followed
from graph.kit.ids import parse_id
from graph.kit.paging import Connection, Listing, paged
from graph.kit.scopes import TO_RUN, WORKBENCH
from graph.runs.session_fields import DatabaseSessionById
from graph.runs.sessions.session_inputs import (
    CloseSessionInput,
    CloseSessionPayload,
    CommitTransactionInput,
    CommitTransactionPayload,
    OpenSessionInput,
    OpenSessionPayload,
    RollbackTransactionInput,
    RollbackTransactionPayload,
)
from graph.runs.submission import require_usable
from graph.runs.types import DatabaseSession

SessionId = Annotated[strawberry.ID, argument("ID of the `DatabaseSession`.")]

SCOPES = WORKBENCH


@strawberry.type
class Query:
    @query(
        "Fetches one of the viewer's database sessions by ID. Returns null if the viewer has no "
        "such session.",
        who=SignedIn,
        type=DatabaseSession | None,
    )
    async def session(self, info: Info, id: SessionId) -> DatabaseSessionRow | None:
        return await DatabaseSessionById.of(info.context).load(parse_id("session", id))

    @query(
        "The viewer's database sessions, newest first. Closed sessions are kept as long as query "
        "runs.",
        who=SignedIn,
        type=Connection[DatabaseSession],
    )
    @paged
    async def sessions(
        self,
        info: Info,
        window: Window,
        open: Annotated[
            bool | None,
            argument("If true, returns only open sessions; if false, only closed ones."),
        ] = None,
    ) -> Listing:
        context = info.context
        page = await context.read(DatabaseSessions, lambda rows: rows.page(window, is_open=open))
        return Listing(
            page, lambda: context.read(DatabaseSessions, lambda rows: rows.count(is_open=open))
        )


@strawberry.type
class Mutation:
    @mutation(
        "Opens a session: a connection to the database that is held until it is closed, so that "
        "transactions, settings, temporary tables and locks last from one statement to the next. "
        "Responds within 10 seconds. Fails with `BAD_USER_INPUT` and the `field` `password` if the "
        "connection needs one from `connect` first, and with `RATE_LIMITED` if the viewer has too "
        "many open sessions.",
        who=SignedIn,
        scopes=TO_RUN,
    )
    async def open_session(
        self, info: Info, input: Annotated[OpenSessionInput, argument("Session to open.")]
    ) -> OpenSessionPayload:
        fields = provided_fields(input)
        key = fields.pop("idempotency_key", None)
        fields["connection_id"] = parse_id("conn", input.connection_id, argument="connectionId")
        if info.context.signed_in.must_read_only:
            fields["read_only"] = True
        info.context.release_slot()
        service, owner = info.context.services.database_sessions, info.context.owner
        info.context.remember_network()
        row = await service.open(owner, OpenRequest(**fields), key=key)
        return OpenSessionPayload(session=row)

    @mutation(
        "Commits the open transaction of a session, after the statements that were sent before. "
        "Without a transaction, PostgreSQL answers with a warning. Fails with `CONFLICT` if the "
        "session is closed.",
        who=SignedIn,
        scopes=TO_RUN,
    )
    async def commit_transaction(
        self,
        info: Info,
        input: Annotated[CommitTransactionInput, argument("Session whose transaction to commit.")],
    ) -> CommitTransactionPayload:
        session, run = await _end_transaction(info.context, input.session_id, "COMMIT")
        return CommitTransactionPayload(session=session, run=run)

    @mutation(
        "Rolls back the open transaction of a session, after the statements that were sent before. "
        "Without a transaction, PostgreSQL answers with a warning. Fails with `CONFLICT` if the "
        "session is closed.",
        who=SignedIn,
        scopes=TO_RUN,
    )
    async def rollback_transaction(
        self,
        info: Info,
        input: Annotated[
            RollbackTransactionInput, argument("Session whose transaction to roll back.")
        ],
    ) -> RollbackTransactionPayload:
        session, run = await _end_transaction(info.context, input.session_id, "ROLLBACK")
        return RollbackTransactionPayload(session=session, run=run)

    @mutation(
        "Closes a session within a few seconds: cancels the statement that runs, rolls back the "
        "open transaction and closes the connection. Closing a closed session changes nothing.",
        who=SignedIn,
        scopes=TO_RUN,
        urgent=True,
    )
    async def close_session(
        self, info: Info, input: Annotated[CloseSessionInput, argument("Session to close.")]
    ) -> CloseSessionPayload:
        context, session_id = info.context, _parse_session_id(input.session_id)
        await require_usable(context, session_id)
        row = await context.services.database_sessions.close(context.owner, session_id)
        return CloseSessionPayload(session=row)


@strawberry.type
class Subscription:
    @subscription(
        "Sends the database session now and after each change, but not when only its `locks` "
        "change. Completes when it is closed. Fails with `NOT_FOUND` if the viewer has no such "
        "session.",
        who=SignedIn,
        type=DatabaseSession,
    )
    async def session_changed(self, info: Info, id: SessionId) -> AsyncIterator[DatabaseSessionRow]:
        async for row in _follow(info.context, parse_id("session", id)):
            yield row


async def _end_transaction(
    context: Context, session_id: str, command: str
) -> tuple[DatabaseSessionRow, RunRow]:
    row_id = _parse_session_id(session_id)
    await require_usable(context, row_id)
    context.release_slot()
    run = await context.services.database_sessions.end_transaction(context.owner, row_id, command)
    return await context.read(DatabaseSessions, lambda rows: rows.require(row_id)), run


async def _follow(context: Context, session_id: UUID) -> AsyncIterator[DatabaseSessionRow]:
    service = context.services.database_sessions
    with contextlib.suppress(WatchClosed):
        async with service.follow(context.owner, session_id) as watch:
            row = require_followed(await watch.current(), "session")
            yield row
            while not row.is_closed:
                row = require_followed(await watch.next_change(), "session")
                yield row


def _parse_session_id(text: str) -> UUID:
    return parse_id("session", text, argument="sessionId")

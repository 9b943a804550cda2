"""The "single connection" mode of the GraphQL over SSE protocol: one stream, many operations.

PUT reserves a stream and returns its token, GET opens the stream, each POST with the token starts
an operation whose results are sent on the stream, and DELETE ends one. The streams of a process are
in its memory, so all requests of a client have to reach the same process.
"""

import asyncio
import contextlib
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator
from typing import Any, TypeAlias
from uuid import UUID

import msgspec
from starlette.types import Receive, Scope

from db.concurrency.waiting import cancel_all
from db.errors import BadInput, Conflict, Forbidden, NotFound, Overloaded, RateLimited
from graph.auth import Viewer
from graph.context import Context
from graph.operations import Answer, GraphQLRequest, refuse
from graph.transport.gateway import Gateway
from graph.transport.http.accept import EVENT_STREAM
from graph.transport.http.request_parsing import HttpRefusal, query_values
from graph.transport.http.streams import FORMATS, until_first, wait_for_end

OPENED_WITHIN_S = 10.0
MAX_STREAMS_PER_USER = 20
MAX_RESERVED = 1_000
MAX_OPERATIONS = 100

Write: TypeAlias = Callable[[bytes], Awaitable[None]]
Owner: TypeAlias = UUID | str

_encode = msgspec.json.Encoder().encode


def stream_token(scope: Scope, headers: dict[bytes, bytes]) -> str | None:
    """The token of a reserved event stream, in a header or, by `EventSource`, in the URL."""
    token = headers.get(b"x-graphql-event-stream-token")
    if token is not None:
        return token.decode("latin-1")
    if b"token=" not in scope["query_string"]:
        return None
    values = query_values(scope)
    return None if "query" in values else values.get("token")


class ReservedStream:
    """One stream of a client, and the operations whose results it carries."""

    def __init__(self, viewer: Viewer | None, authorization: str | None, owner: Owner) -> None:
        self.token = secrets.token_urlsafe(24)
        self.viewer = viewer
        self.authorization = authorization
        self.owner = owner
        self.is_open = False
        self._write: Write | None = None
        self._running: dict[str, asyncio.Task[None]] = {}

    async def carry(
        self,
        write: Write,
        receive: Receive,
        *,
        session_end: Coroutine[Any, Any, Answer],
        server_end: Coroutine[Any, Any, None],
    ) -> None:
        """Sends the results of the operations until the client, the session or the server ends."""
        try:
            self._write = write  # first: the client may send operations once it has the headers
            await write(FORMATS[EVENT_STREAM].opening)
            session_error = await wait_for_end(
                write, receive, session_end=session_end, server_end=server_end
            )
            if session_error is not None:
                await self._end_operations(session_error)
        finally:
            self._write = None
            tasks = list(self._running.values())
            self._running.clear()
            await cancel_all(tasks)

    def start(
        self,
        request: GraphQLRequest,
        context: Context,
        gateway: Gateway,
        authorization: str | None,
    ) -> asyncio.Task[None]:
        """Starts an operation, named by `operationId` in the extensions of its request.

        It ends with the session of `authorization`, which may be another one than the stream's.
        """
        operation_id = _checked_id((request.extensions or {}).get("operationId"))
        if self._write is None:
            raise HttpRefusal(
                409,
                Conflict(
                    "The event stream of this token is not open.",
                    hint="Open it by GET with `Accept: text/event-stream` first.",
                ),
            )
        if operation_id in self._running:
            raise HttpRefusal(
                409,
                Conflict(
                    f"The operation {operation_id} is already running on this event stream.",
                    hint="Send another `operationId`, or end the operation by DELETE first.",
                ),
            )
        if len(self._running) >= MAX_OPERATIONS:
            raise RateLimited(
                f"This event stream already runs {MAX_OPERATIONS} operations.",
                hint="End some of them by DELETE, or reserve another stream.",
            )
        running = self._run(operation_id, request, context, gateway, authorization)
        task = self._running[operation_id] = asyncio.create_task(running)
        return task

    def end(self, operation_id: str | None) -> None:
        """Ends an operation of the client; one that has already ended is not an error."""
        if task := self._running.pop(_checked_id(operation_id), None):
            task.cancel()

    async def _run(
        self,
        operation_id: str,
        request: GraphQLRequest,
        context: Context,
        gateway: Gateway,
        authorization: str | None,
    ) -> None:
        sending = self._send_all(operation_id, gateway.answers(request, context))
        try:
            if authorization == self.authorization:
                await sending
            else:
                session_end = gateway.session_end(context.viewer, authorization)
                _, session = await until_first(sending, session_end)
                if session.done() and not session.cancelled():
                    ended = refuse(session.result(), request_id=context.request_id)
                    await self._next(operation_id, ended)
        except Exception as error:  # noqa: BLE001 - an unexpected error must not end other operations
            await self._next(operation_id, refuse(error, request_id=context.request_id))
        if self._running.get(operation_id) is asyncio.current_task():
            del self._running[operation_id]  # first: the client may use the id again at once
            await self._complete(operation_id)

    async def _send_all(self, operation_id: str, answers: AsyncGenerator[Answer]) -> None:
        async with contextlib.aclosing(answers):
            async for answer in answers:
                await self._next(operation_id, answer)

    async def _end_operations(self, answer: Answer) -> None:
        """Tells each operation why it ends."""
        while self._running:
            operation_id, task = self._running.popitem()
            task.cancel()
            await self._next(operation_id, answer)
            await self._complete(operation_id)

    async def _next(self, operation_id: str, answer: Answer) -> None:
        event = {"id": operation_id, "payload": msgspec.Raw(answer.payload)}
        await self._send(b"event: next\ndata: " + _encode(event) + b"\n\n")

    async def _complete(self, operation_id: str) -> None:
        await self._send(b"event: complete\ndata: " + _encode({"id": operation_id}) + b"\n\n")

    async def _send(self, event: bytes) -> None:
        """Waits while the client does not read, so that results do not accumulate."""
        if self._write is not None:
            await self._write(event)


class ReservedStreams:
    """The reserved and open streams of this process."""

    def __init__(self) -> None:
        self._streams: dict[str, ReservedStream] = {}
        self._of_owner: Counter[Owner] = Counter()

    def __len__(self) -> int:
        return len(self._streams)

    def reserve(
        self, viewer: Viewer | None, authorization: str | None, *, network: str
    ) -> ReservedStream:
        """Reserves a stream. It is dropped if the client does not open it soon.

        Raises:
            RateLimited: The user, or the network without a user, has too many streams.
            Overloaded: The process has too many streams that are not open.
        """
        owner = viewer.id if viewer else network
        if self._of_owner[owner] >= MAX_STREAMS_PER_USER:
            raise RateLimited(
                f"This client already has {MAX_STREAMS_PER_USER} event streams.",
                hint="Close some of them, or run several operations on one.",
                retry_after_s=OPENED_WITHIN_S,
            )
        if sum(not stream.is_open for stream in self._streams.values()) >= MAX_RESERVED:
            raise Overloaded(
                "This server has too many event streams that are reserved and not open.",
                hint="Retry in a few seconds.",
                retry_after_s=OPENED_WITHIN_S,
                cause="event_streams",
            )
        stream = ReservedStream(viewer, authorization, owner)
        self._streams[stream.token] = stream
        self._of_owner[owner] += 1
        asyncio.get_running_loop().call_later(OPENED_WITHIN_S, self._drop_unopened, stream)
        return stream

    def find(self, token: str, viewer: Viewer | None, *, by_token: bool = False) -> ReservedStream:
        """The stream of a token. `by_token` accepts a request without credentials.

        Raises:
            HttpRefusal: There is no such stream in this process, or it is another user's.
        """
        stream = self._streams.get(token)
        if stream is None:
            raise HttpRefusal(
                404,
                NotFound(
                    "This event stream does not exist at the process that answers.",
                    hint="Reserve a stream by PUT and open it within 10 seconds. Behind a load "
                    "balancer or with --workers, use the mode of distinct connections instead.",
                ),
            )
        if by_token and viewer is None:
            return stream
        if _id_of(viewer) != _id_of(stream.viewer):
            raise Forbidden(
                "This event stream was reserved with other credentials.",
                hint="Send the Authorization header of the user who reserved it.",
            )
        return stream

    @contextlib.contextmanager
    def opened(self, stream: ReservedStream) -> Iterator[None]:
        """Marks a stream as open until the block ends; the token is void then."""
        if stream.is_open:
            raise HttpRefusal(
                409,
                Conflict(
                    "This event stream is already open.", hint="Reserve another stream by PUT."
                ),
            )
        stream.is_open = True
        try:
            yield
        finally:
            self._drop(stream)

    def _drop_unopened(self, stream: ReservedStream) -> None:
        if not stream.is_open:
            self._drop(stream)

    def _drop(self, stream: ReservedStream) -> None:
        if self._streams.pop(stream.token, None) is None:
            return
        self._of_owner[stream.owner] -= 1
        if not self._of_owner[stream.owner]:
            del self._of_owner[stream.owner]


def _id_of(viewer: Viewer | None) -> UUID | None:
    return None if viewer is None else viewer.id


def _checked_id(operation_id: object) -> str:
    if isinstance(operation_id, str) and 0 < len(operation_id) <= 256:
        return operation_id
    raise BadInput(
        "The request has no valid `operationId`.",
        hint="Send a text of 1 to 256 characters: by POST in `extensions`, by DELETE in the query "
        "string. For a request apart from the stream, omit `X-GraphQL-Event-Stream-Token`.",
    )

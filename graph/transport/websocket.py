"""GraphQL over WebSocket with the `graphql-transport-ws` protocol.

Each socket is a task group: a reader, a task per operation, and watchers for the end of the session
and of the server. A task that ends the socket raises `_Closed`; the group cancels the others.
"""

import asyncio
import contextlib
from collections.abc import Callable, Hashable
from typing import Annotated, Any, TypeAlias

import msgspec
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

from db.client_networks import network_of
from db.errors import Forbidden, HowdahError, Overloaded, RateLimited, Unauthenticated
from db.postgres.standbys import OperationReads
from graph.auth import Viewer
from graph.context import address_of
from graph.operations import Answer, GraphQLRequest, refuse
from graph.transport.gateway import Gateway
from graph.transport.http.request_parsing import has_unpaired_surrogate
from graph.transport.limits.large_requests import LARGE_CHARACTERS, MemoryLease
from graph.transport.limits.socket_limit import SocketSlot
from graph.transport.limits.unread_responses import LARGE_BYTES
from graph.transport.middleware.origins import refused_origin
from graph.transport.middleware.request_ids import current_request_id, new_request_id
from graph.transport.middleware.seen_header import SEEN_HEADER

PROTOCOL = "graphql-transport-ws"
INIT_WAIT_S = 10.0
CLOSE_WAIT_S = 2.0
MAX_OPERATIONS = 100
_GONE = (WebSocketDisconnect, WebSocketDisconnected)
"""The second is for what a task does after another one has noticed the end."""
_SEEN = SEEN_HEADER.decode()
"""In the payload of `connection_init`: the results have `extensions.seen`. They are read on the
primary: what a subscription waits for is in no standby yet."""

Id: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class ConnectionInit(msgspec.Struct, tag_field="type", tag="connection_init"):
    """The first message, with the credentials of the client."""

    payload: dict[str, Any] | None = None


class Ping(msgspec.Struct, tag_field="type", tag="ping"):
    """A keep-alive message; the receiver must send a `pong`."""


class Pong(msgspec.Struct, tag_field="type", tag="pong"):
    """Answers a `ping`, or signals that the client is alive."""


class Subscribe(msgspec.Struct, tag_field="type", tag="subscribe"):
    """Starts an operation of any kind."""

    id: Id
    payload: GraphQLRequest


class Complete(msgspec.Struct, tag_field="type", tag="complete"):
    id: Id


Message: TypeAlias = ConnectionInit | Ping | Pong | Subscribe | Complete

_decode: Callable[[str], Message] = msgspec.json.Decoder(Message).decode


class _Closed(Exception):
    """Closes the socket with a code of the protocol."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


async def serve(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one socket from its handshake to its end."""
    gateway: Gateway = scope["state"]["gateway"]
    websocket = WebSocket(scope, receive, send)
    if not gateway.origins.allow(dict(scope["headers"])):
        await websocket.send_denial_response(refused_origin(websocket.headers["origin"]))
    elif gateway.shutdown.begun:
        await websocket.close()  # before it is accepted: the handshake is answered with 403
    elif PROTOCOL not in scope["subprotocols"]:
        await websocket.accept()
        await websocket.close(4406, "Subprotocol not acceptable")
    elif (slot := gateway.anonymous_sockets.enter(network_of(address_of(scope)))) is None:
        await websocket.close()  # as above
    else:
        socket = _Socket(websocket, gateway, slot)
        try:
            await websocket.accept(PROTOCOL)
            with gateway.shutdown.stream():
                await socket.serve()
        finally:
            socket.leave()


class _Socket:
    """One connection and the operations that run on it."""

    def __init__(self, websocket: WebSocket, gateway: Gateway, slot: SocketSlot) -> None:
        """When the client signs in, `slot` is exchanged for one of the user."""
        self._websocket = websocket
        self._slot = slot
        self._gateway = gateway
        self._running: dict[str, asyncio.Task[None]] = {}
        self._authorization: str | None = None
        self._viewer: Viewer | None = None
        self._keeps_position = False
        self._lease: MemoryLease | None = None
        """Of the message that is handled, unless its operation has taken it over."""

    async def serve(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._end_with_server())
                await self._initialise()
                tasks.create_task(self._end_with_session())
                while True:
                    await self._handle(await self._receive(), tasks)
        except* _Closed as ends:
            match ends.exceptions[0]:
                case _Closed(code=code, reason=reason):
                    await self._close(code, reason)
        except* _GONE:
            pass

    def leave(self) -> None:
        """Call at the end of the socket."""
        self._slot.leave()
        self._release_lease()

    def _release_lease(self) -> None:
        if self._lease is not None:
            self._lease.release()
            self._lease = None

    async def _initialise(self) -> None:
        """Wait for `connection_init`, and authenticate the client."""
        try:
            async with asyncio.timeout(INIT_WAIT_S):
                while not isinstance(message := await self._receive(), ConnectionInit):
                    if isinstance(message, Subscribe):
                        raise _Closed(4401, "Unauthorized")
                    if isinstance(message, Ping):
                        await self._send({"type": "pong"})
        except TimeoutError:
            raise _Closed(4408, "Connection initialisation timeout") from None
        self._authorization = _authorization(message.payload or {})
        self._keeps_position = any(name.lower() == _SEEN for name in message.payload or {})
        try:
            self._viewer = await self._gateway.viewer(self._authorization)
        except HowdahError as error:
            self._gateway.note_token_error(error, current_request_id.get(), self._websocket.scope)
            if isinstance(error, Unauthenticated | Forbidden):
                raise _Closed(4403, _reason(error)) from None
            raise _Closed(1013, error.message) from None  # try again later
        if self._viewer is None:
            await self._wait_for_turn()
        else:
            self._count_for(self._viewer)
        await self._send({"type": "connection_ack"})

    def _count_for(self, viewer: Viewer) -> None:
        """Clients connect again after 1013 (try again later), with growing pauses."""
        sockets = self._gateway.user_sockets
        slot = sockets.enter(viewer.id)
        if slot is None:
            raise _Closed(1013, f"You have {sockets.limit} open sockets. Close some, then retry.")
        self._slot.leave()
        self._slot = slot

    async def _handle(self, message: Message, tasks: asyncio.TaskGroup) -> None:
        match message:
            case Subscribe():
                await self._subscribe(message, tasks)
            case Complete():
                await self._wait_for_turn()
                if task := self._running.pop(message.id, None):
                    task.cancel()
            case Ping():
                await self._wait_for_turn()
                await self._send({"type": "pong"})
            case ConnectionInit():
                raise _Closed(4429, "Too many initialisation requests")
            case Pong():
                await self._wait_for_turn()

    async def _subscribe(self, message: Subscribe, tasks: asyncio.TaskGroup) -> None:
        if message.id in self._running:
            raise _Closed(4409, f"Subscriber for {message.id} already exists")
        if len(self._running) >= MAX_OPERATIONS:
            await self._wait_for_turn()
            error = RateLimited(
                f"This socket already runs {MAX_OPERATIONS} operations.",
                hint="Complete some of them, or open another socket.",
            )
            await self._send_error(message.id, refuse(error, request_id=new_request_id()))
            return
        task = self._running[message.id] = tasks.create_task(self._run(message))
        if self._lease is not None:
            task.add_done_callback(self._lease.release)
            self._lease = None

    @property
    def _sender(self) -> Hashable:
        return self._viewer.id if self._viewer else network_of(address_of(self._websocket.scope))

    async def _wait_for_turn(self) -> None:
        """For a message that starts no operation, which would be admitted."""
        await self._gateway.turns.wait(self._sender)

    async def _run(self, message: Subscribe) -> None:
        """Run one operation until its last message."""
        request_id = new_request_id()
        current_request_id.set(request_id)
        context = self._gateway.context(self._viewer, request_id, self._websocket.scope)
        standbys = self._gateway.services.standbys
        if standbys is not None and self._keeps_position:
            is_anonymous = self._viewer is None
            context.operation_reads = OperationReads(standbys, None, is_anonymous=is_anonymous)
        refusal = None
        try:
            async with contextlib.aclosing(
                self._gateway.answers(message.payload, context)
            ) as answers:
                async for answer in answers:
                    if not answer.ran:
                        refusal = answer
                        break
                    await self._send_result(message.id, answer.payload)
        except _GONE:
            raise
        except Exception as error:  # noqa: BLE001 - an unexpected error must not end other operations
            refusal = refuse(error, request_id=request_id)
        if self._running.get(message.id) is not asyncio.current_task():
            return  # the client has completed it, and may have used the id again
        del self._running[message.id]  # first: the client may use the id again at once
        if refusal:
            await self._send_error(message.id, refusal)
        else:
            await self._send({"id": message.id, "type": "complete"})

    async def _end_with_server(self) -> None:
        await self._gateway.shutdown.wait()
        raise _Closed(1001, "The server is stopping")

    async def _end_with_session(self) -> None:
        """Close without an error to each operation.

        Clients take such an error as the end of a subscription. Without it, graphql-ws connects
        again after 4403, asks its application for new credentials, and subscribes again.
        """
        error = await self._gateway.session_end(self._viewer, self._authorization)
        raise _Closed(4403, _reason(error))

    async def _receive(self) -> Message:
        self._release_lease()
        try:
            text = await self._websocket.receive_text()
            if len(text) > self._gateway.operations.limits.body_bytes:
                raise _Closed(1009, "Message too big")
            if len(text) >= LARGE_CHARACTERS:
                requests = self._gateway.large_requests
                self._lease = await requests.lease(self._sender, len(text), text.count(","))
            return _message_of(text)
        except (RateLimited, Overloaded) as error:
            raise _Closed(1013, error.message) from None
        except (KeyError, UnicodeError):  # no text
            raise _Closed(4400, "Invalid message") from None

    async def _send_result(self, operation_id: str, payload: bytes) -> None:
        message = {"id": operation_id, "type": "next", "payload": msgspec.Raw(payload)}
        if len(payload) < LARGE_BYTES:
            await self._send(message)
            return
        with self._gateway.unread_responses.writing(self._sender, len(payload)):
            await self._send(message)
            await self._send({"type": "pong"})  # when it is read

    async def _send_error(self, operation_id: str, answer: Answer) -> None:
        await self._send({"id": operation_id, "type": "error", "payload": answer.errors})

    async def _send(self, message: dict[str, Any]) -> None:
        text = msgspec.json.encode(message).decode()
        await self._websocket.send({"type": "websocket.send", "text": text})

    async def _close(self, code: int, reason: str) -> None:
        """Send the close frame, unless the client has disconnected or stopped reading."""
        with contextlib.suppress(*_GONE, TimeoutError):
            async with asyncio.timeout(CLOSE_WAIT_S):
                await self._websocket.close(code, _truncated(reason))


def _message_of(text: str) -> Message:
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        cause = ": unpaired surrogate" if has_unpaired_surrogate(text) else ""
        raise _Closed(4400, f"Invalid message{cause}") from None


def _reason(error: HowdahError) -> str:
    """The reason of a close frame, for clients that show it."""
    return f"{error.message} {error.hint}"


def _truncated(reason: str) -> str:
    """RFC 6455 limits the payload of a close frame, with its code, to 125 bytes."""
    return reason.encode()[:123].decode(errors="ignore")


def _authorization(payload: dict[str, Any]) -> str | None:
    """Finds the credentials in the payload of `connection_init`; the clients differ.

    A payload with other values only is refused: without its credentials, which are there but not
    recognised, the client would be anonymous. Null values and an empty text are no credentials:
    clients send them before the user signs in.
    """
    names = _present(payload)
    names.pop(_SEEN, None)
    if isinstance(headers := names.get("headers"), dict):  # as Hasura's clients
        del names["headers"]
        names = _present(headers) | names
    for name in ("authorization", "authtoken"):  # the latter as in Apollo's documentation
        value = names.pop(name, "")
        if not isinstance(value, str):
            raise _Closed(4400, f"{name} of connection_init is not a string")
        if value:
            return value if name == "authorization" or " " in value else f"Bearer {value}"
    if names:
        hint = 'Send {"Authorization": "Bearer <accessToken>"}, or no payload'
        raise _Closed(4403, f"connection_init has no Authorization. {hint}")
    return None


def _present(values: dict[str, Any]) -> dict[str, Any]:
    return {name.lower(): value for name, value in values.items() if value not in (None, "")}

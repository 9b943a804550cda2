"""Handles one HTTP request: parses, authenticates, prepares, executes and responds."""

from collections.abc import AsyncGenerator, Iterable

from graphql import OperationType
from starlette.types import Receive, Scope, Send

from db.client_networks import network_of
from db.errors import HowdahError
from db.postgres.standbys import OperationReads, reads_of
from graph.auth import Viewer
from graph.context import Context, address_of
from graph.operations import Answer, GraphQLRequest, Prepared, Refused, refuse
from graph.transport.gateway import Gateway, stopping_error
from graph.transport.http.accept import EVENT_STREAM, GRAPHQL_JSON, accept
from graph.transport.http.headers import ALLOWED, READING, Header
from graph.transport.http.refresh_cookie import RefreshCookie
from graph.transport.http.request_parsing import (
    ClientDisconnected,
    HttpRefusal,
    from_body,
    from_query_string,
    method_not_allowed,
    not_acceptable,
    query_values,
    read_body,
)
from graph.transport.http.reserved_streams import ReservedStream, ReservedStreams, stream_token
from graph.transport.http.response import Response
from graph.transport.http.statuses import media_type_of, status_of
from graph.transport.http.streams import FORMATS, Stream
from graph.transport.limits.large_requests import LARGE_CHARACTERS, NO_LEASE, MemoryLease
from graph.transport.middleware.request_ids import begin_request
from graph.transport.middleware.seen_header import SEEN_HEADER


async def serve(
    scope: Scope, receive: Receive, send: Send, headers: dict[bytes, bytes] | None = None
) -> None:
    """Responds to one HTTP request. Every error becomes a GraphQL response.

    `headers` are those of the scope, if the caller has made a dict of them already.
    """
    exchange = _Exchange(scope, receive, send, headers or dict(scope["headers"]))
    try:
        await exchange.serve()
    except ClientDisconnected:
        pass
    except HttpRefusal as refusal:
        await exchange.refuse(refusal.error, status=refusal.status, headers=refusal.headers)
    except Exception as error:
        if exchange.response.started:
            raise
        await exchange.refuse(error)  # unexpected errors are logged and masked
    finally:
        exchange.received.release()


class _Exchange:
    """One request and its response."""

    __slots__ = (
        "_accept",
        "_cookie",
        "_gateway",
        "_headers",
        "_receive",
        "_request_id",
        "_scope",
        "received",
        "response",
    )

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, headers: dict[bytes, bytes]
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._gateway: Gateway = scope["state"]["gateway"]
        self._headers = headers
        self._request_id = begin_request(headers)
        self._accept = accept(self._headers.get(b"accept"))
        self._cookie = RefreshCookie(scope, self._headers, self._gateway.origins)
        self.response = Response(scope, send, self._request_id, self._cookie)
        self.received = NO_LEASE

    async def serve(self) -> None:
        if self._gateway.shutdown.begun:
            raise HttpRefusal(503, stopping_error(), headers=((b"connection", b"close"),))
        method = self._scope["method"]
        if method == "OPTIONS":  # a preflight is answered by graph.transport.middleware.origins
            await self.response.send_text(204, headers=((b"allow", ALLOWED),))
            return
        token = stream_token(self._scope, self._headers)
        if token is not None or method in {"PUT", "DELETE"}:
            await self._serve_reserved_stream(token)
            return
        body = await self._read_body()
        viewer, token_error = None, None
        try:
            viewer = await self._gateway.viewer(self._authorization())
        except HowdahError as error:
            token_error = error
        self._note_sender(viewer)
        lease = await self._lease(body or b"")
        try:
            request = self._parse(body)
            context = self._gateway.context(viewer, self._request_id, self._scope)
            context.refresh_cookie = self._cookie
            context.operation_reads = self._operation_reads(viewer)
            try:
                prepared = await self._gateway.operations.prepare(
                    request, context, token_error=token_error
                )
            except Refused as refused:
                if token_error is not None:
                    raise token_error from None
                await self._gateway.turns.wait(network_of(address_of(self._scope)))
                await self._reply(refuse(*refused.errors, request_id=self._request_id))
                return
            await self._run(prepared, request, context)
        finally:
            lease.release()

    async def refuse(
        self, error: Exception, *, status: int | None = None, headers: Iterable[Header] = ()
    ) -> None:
        """Responds with an error that occurred before execution."""
        await self._gateway.turns.wait(network_of(address_of(self._scope)))
        answer = refuse(error, request_id=self._request_id)
        status = status or status_of(answer, GRAPHQL_JSON)
        await self.response.send(answer, GRAPHQL_JSON, status, headers=headers)

    async def _serve_reserved_stream(self, token: str | None) -> None:
        authorization = self._authorization()
        try:
            viewer = await self._gateway.viewer(authorization)
        except HowdahError as error:
            self._gateway.note_token_error(error, self._request_id, self._scope)
            raise
        self._note_sender(viewer)
        streams: ReservedStreams = self._scope["state"]["streams"]
        match self._scope["method"]:
            case "PUT":
                network = network_of(address_of(self._scope))
                stream = streams.reserve(viewer, authorization, network=network)
                await self.response.send_text(201, stream.token.encode())
            case "GET":
                stream = streams.find(token or "", viewer, by_token=True)
                await self._open_reserved_stream(streams, stream)
            case "POST":
                stream = streams.find(token or "", viewer)
                await self._start_on(stream, viewer, authorization)
                await self.response.send_text(202)
            case "DELETE":
                stream = streams.find(token or "", viewer)
                stream.end(query_values(self._scope).get("operationId"))
                await self.response.send_text(200)
            case method:
                raise method_not_allowed(
                    f"The method {method} is not supported on an event stream.",
                    b"DELETE, GET, POST, PUT",
                )

    async def _start_on(
        self, stream: ReservedStream, viewer: Viewer | None, authorization: str | None
    ) -> None:
        body = await self._read_body() or b""
        lease = await self._lease(body)
        try:
            context = self._gateway.context(viewer, self._request_id, self._scope)
            context.operation_reads = self._operation_reads(viewer)
            running = stream.start(self._parse(body), context, self._gateway, authorization)
        except BaseException:
            lease.release()
            raise
        running.add_done_callback(lease.release)

    async def _open_reserved_stream(self, streams: ReservedStreams, stream: ReservedStream) -> None:
        if self._accept.stream != EVENT_STREAM:
            raise not_acceptable()
        with streams.opened(stream), self._gateway.shutdown.stream():
            await self.response.begin_stream(FORMATS[EVENT_STREAM].content_type)
            await stream.carry(
                self.response.write,
                self._receive,
                session_end=self._session_end(stream.viewer, stream.authorization),
                server_end=self._gateway.shutdown.wait(),
            )
        await self.response.end()

    async def _read_body(self) -> bytes | None:
        """None if the request is in the query string."""
        match self._scope["method"]:
            case "POST" | "QUERY":
                max_bytes = self._gateway.operations.limits.body_bytes
                return await read_body(self._headers, self._receive, max_bytes, self._reserve)
            case "GET" | "HEAD":  # uvicorn omits the body of HEAD
                return None
            case method:
                raise method_not_allowed(f"The method {method} is not supported.", ALLOWED)

    def _parse(self, body: bytes | None) -> GraphQLRequest:
        return from_query_string(self._scope) if body is None else from_body(body)

    def _note_sender(self, viewer: Viewer | None) -> None:
        self.response.sender = viewer.id if viewer else network_of(address_of(self._scope))

    async def _reserve(self, size: int) -> None:
        network = network_of(address_of(self._scope))
        self.received = await self._gateway.large_requests.receive(network, size)

    async def _lease(self, body: bytes) -> MemoryLease:
        requests = self._gateway.large_requests
        try:
            if len(body) < LARGE_CHARACTERS:
                return NO_LEASE
            return await requests.lease(self.response.sender, len(body), body.count(b","))
        finally:
            self.received.release()

    def _operation_reads(self, viewer: Viewer | None) -> OperationReads | None:
        standbys = self._gateway.services.standbys
        if standbys is None:
            return None
        return reads_of(standbys, self._headers.get(SEEN_HEADER), is_anonymous=viewer is None)

    def _authorization(self) -> str | None:
        header = self._headers.get(b"authorization")
        return None if header is None else header.decode("latin-1")

    async def _run(self, prepared: Prepared, request: GraphQLRequest, context: Context) -> None:
        operations, method, kind = self._gateway.operations, self._scope["method"], prepared.kind
        if kind is OperationType.SUBSCRIPTION:
            if method == "HEAD":
                raise method_not_allowed("A subscription cannot be requested by HEAD.", READING)
            answers = operations.follow(prepared, request.variables, context)
            await self._reply_stream(answers, self._accept.stream, context.viewer)
            return
        is_query = kind is OperationType.QUERY
        if not is_query and method != "POST":
            raise method_not_allowed("A mutation requires POST.", b"POST")
        if self._accept.answer is None:
            raise not_acceptable()
        answer = await operations.run(prepared, request.variables, context)
        if context.operation_reads is not None:
            self.response.seen = (await context.operation_reads.position()).encode()
        # Some mutations return tokens, whose length would show in a compressed answer.
        coding = self._headers.get(b"accept-encoding") if is_query else None
        if not self.response.write_at_once(answer, self._accept.answer, coding):
            await self._reply(answer, coding)

    async def _reply(self, answer: Answer, coding: bytes | None = None) -> None:
        media_type = self._accept.answer or self._accept.stream
        if media_type in FORMATS:
            await self._reply_stream(_single(answer), media_type, None)
        elif media_type is None:
            raise not_acceptable()
        else:
            status = status_of(answer, media_type)
            sent_type = media_type_of(status, media_type)
            await self.response.send(answer, sent_type, status, coding=coding)

    async def _reply_stream(
        self, answers: AsyncGenerator[Answer], media_type: str | None, viewer: Viewer | None
    ) -> None:
        if media_type is None:
            raise not_acceptable()
        stream_format = FORMATS[media_type]
        await self.response.begin_stream(stream_format.content_type)
        with self._gateway.shutdown.stream():
            await Stream(stream_format, write=self.response.write, receive=self._receive).send(
                answers,
                session_end=self._session_end(viewer, self._authorization()),
                server_end=self._gateway.shutdown.wait(),
            )
        await self.response.end()

    async def _session_end(self, viewer: Viewer | None, authorization: str | None) -> Answer:
        error = await self._gateway.session_end(viewer, authorization)
        return refuse(error, request_id=self._request_id)


async def _single(answer: Answer) -> AsyncGenerator[Answer]:
    yield answer

"""The dependencies that the transports share."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeAlias

from graphql import OperationType
from starlette.requests import Request
from starlette.types import Scope

from db.errors import HowdahError, Overloaded, Unauthenticated
from db.kit.audit import Actor, current_actor
from db.postgres.monitoring.figures import current_count
from db.services import Services
from graph.auth import Viewer
from graph.context import Context, address_of
from graph.operations import (
    Answer,
    GraphQLRequest,
    Operations,
    Refused,
    refuse,
    with_position,
)
from graph.transport.compression import Compressor
from graph.transport.limits.fair_turns import FairTurns
from graph.transport.limits.large_requests import LargeRequests
from graph.transport.limits.socket_limit import SocketLimit
from graph.transport.limits.unread_responses import UnreadResponses
from graph.transport.middleware.origins import Origins

Authenticate: TypeAlias = Callable[[Services, str | None], Awaitable[Viewer | None]]
"""Returns the viewer of an `Authorization` header, or raises Unauthenticated."""

RECHECK_S = 30.0
ANONYMOUS_LIFE_S = 60.0
"""Without a viewer, a socket or a stream can only read `health` and sign in."""


class Shutdown:
    """Signals the shutdown to sockets and streams, and counts those that are open.

    While the server drains, it serves as before, but `/readyz` is red and each response closes its
    connection. After the shutdown began, new work is refused and streams are closed; running
    operations may finish.
    """

    def __init__(self) -> None:
        self.draining = False
        self.on_begin: Callable[[], object] = lambda: None
        self._begun = asyncio.Event()
        self._streams = 0
        self._no_streams = asyncio.Event()
        self._no_streams.set()

    @property
    def begun(self) -> bool:
        return self._begun.is_set()

    @property
    def streams(self) -> int:
        """The number of open sockets and streams."""
        return self._streams

    def drain(self) -> None:
        self.draining = True

    def begin(self) -> None:
        self.drain()
        self.on_begin()
        self._begun.set()

    async def wait(self) -> None:
        await self._begun.wait()

    @contextlib.contextmanager
    def stream(self) -> Iterator[None]:
        """Hold this while a socket or a stream is open."""
        self._streams += 1
        self._no_streams.clear()
        try:
            yield
        finally:
            self._streams -= 1
            if not self._streams:
                self._no_streams.set()

    async def streams_ended(self) -> None:
        await self._no_streams.wait()


def stopping_error() -> Overloaded:
    return Overloaded(
        "This server is stopping.",
        hint="Retry: another server takes over.",
        retry_after_s=1,
        cause="stopping",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """Created with the services. Transports find it in the state of their scope."""

    services: Services
    operations: Operations
    authenticate: Authenticate
    shutdown: Shutdown
    origins: Origins
    anonymous_sockets: SocketLimit = field(default_factory=lambda: SocketLimit(None))
    turns: FairTurns = field(default_factory=FairTurns)
    user_sockets: SocketLimit = field(default_factory=lambda: SocketLimit(None))
    compressor: Compressor = field(default_factory=Compressor)
    large_requests: LargeRequests = field(default_factory=LargeRequests)
    unread_responses: UnreadResponses = field(default_factory=UnreadResponses)

    def viewer(self, authorization: str | None) -> Awaitable[Viewer | None]:
        return self.authenticate(self.services, authorization)

    def context(self, viewer: Viewer | None, request_id: str, scope: Scope) -> Context:
        """The context of an operation, which is run in the present task."""
        address = address_of(scope)
        if viewer is None:
            actor = Actor(request_id=request_id, address=address)
        else:
            actor = Actor(viewer.id, viewer.session_id, viewer.token_id, request_id, address)
        current_actor.set(actor)
        context = Context(services=self.services, viewer=viewer, request_id=request_id, scope=scope)
        current_count.set(context.statements)
        return context

    def note_token_error(self, error: HowdahError, request_id: str, scope: Scope) -> None:
        """Call if a request or a socket is refused because of its access token."""
        self.operations.note_refusal(self.context(None, request_id, scope), error)

    async def answers(self, request: GraphQLRequest, context: Context) -> AsyncGenerator[Answer]:
        """The results of an operation of any kind; a refusal is the only one."""
        try:
            prepared = await self.operations.prepare(request, context)
        except Refused as refused:
            yield refuse(*refused.errors, request_id=context.request_id)
            return
        if prepared.kind is not OperationType.SUBSCRIPTION:
            answer = await self.operations.run(prepared, request.variables, context)
            yield await with_position(answer, context)
            return
        followed = self.operations.follow(prepared, request.variables, context)
        async with contextlib.aclosing(followed) as answers:
            async for answer in answers:
                yield answer

    async def session_end(self, viewer: Viewer | None, authorization: str | None) -> HowdahError:
        """Wait until the session ends: by expiry, sign-out, revocation or removal of its user.

        A change of the user's role ends it too: a socket keeps the viewer that it began with.
        Without a viewer it ends after ANONYMOUS_LIFE_S.
        """
        if viewer is None:
            await asyncio.sleep(ANONYMOUS_LIFE_S)
            return Unauthenticated(
                "This connection has not signed in.", hint="Connect again with an access token."
            )
        expires_at = viewer.expires_at
        with self.services.identity.access.watch(viewer.id) as access:
            while (left_s := (expires_at - datetime.now(UTC)).total_seconds()) > 0:
                await access.wait(within_s=min(left_s, RECHECK_S))
                try:
                    current = await self.viewer(authorization)
                    if current is not None and current.role != viewer.role:
                        return Unauthenticated(
                            "The role of the user has changed.",
                            hint="Connect again with the same access token.",
                        )
                except Unauthenticated as error:
                    if datetime.now(UTC) < expires_at:
                        return error
                except HowdahError:
                    continue  # a temporary failure of the database does not end the session
        return Unauthenticated(
            "The access token has expired.",
            hint="Call refreshSession, connect with the new access token and subscribe again.",
        )


def gateway_of(request: Request) -> Gateway:
    gateway: Gateway = request.state.gateway
    return gateway

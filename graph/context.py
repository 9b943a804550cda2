"""What one operation knows: who asks, what the server is made of, what was already loaded."""

import contextlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

import strawberry
from starlette.types import Scope

from db.errors import Unauthenticated
from db.kit.base import OwnerId
from db.kit.idempotency import Idempotency
from db.postgres.engine import Session
from db.services import Services
from graph.auth import Viewer

Rows = TypeVar("Rows")
Answer = TypeVar("Answer")
Row = TypeVar("Row", bound=NamedTuple)
RepositoryFactory: TypeAlias = Callable[[Session, OwnerId], Rows]
"""A repository's class: made for a session and an owner."""


class Turn(Protocol):
    """The right of this operation to work (graph.operations.slots)."""

    @property
    def reads(self) -> AbstractAsyncContextManager[None]:
        """To be in while reading, so that its viewer has few reads at the database at once."""

    @property
    def search(self) -> AbstractAsyncContextManager[None]:
        """The same for what looks at many rows."""

    def end(self) -> None: ...


class _Unrationed:
    """What is not an operation of somebody waits for nobody."""

    reads = search = contextlib.nullcontext()

    def end(self) -> None:
        """Nobody waits for it."""


UNRATIONED = _Unrationed()


@dataclass(slots=True, kw_only=True)
class Context:
    """Made once per operation, and for a subscription once per event.

    Resolvers reach repositories through it only, and get those of the viewer.
    """

    services: Services
    viewer: Viewer | None
    request_id: str
    scope: Scope = field(default_factory=dict)
    """Of the HTTP request or the socket."""
    loaders: dict[type, Any] = field(default_factory=dict)
    turn: Turn = UNRATIONED

    @property
    def signed_in(self) -> Viewer:
        """The viewer; an error when there is none. No session, no data."""
        if self.viewer is None:
            raise Unauthenticated(
                "This needs a signed-in user.",
                hint="Sign in with signIn and send `Authorization: Bearer <accessToken>`.",
            )
        return self.viewer

    @property
    def client_address(self) -> str:
        return address_of(self.scope)

    @property
    def base_url(self) -> str:
        """How the client reaches this server, by the name that it used; links begin with it."""
        host = dict(self.scope.get("headers", ())).get(b"host", b"").decode("latin-1")
        scheme = self.scope.get("scheme", "http").replace("ws", "http")
        return f"{scheme}://{host}" if host else ""

    def end_turn(self) -> None:
        """To call before a long wait: the viewer's next operation need not wait for it too."""
        self.turn.end()

    @property
    def owner(self) -> OwnerId:
        """Whose rows this operation may touch."""
        return self.signed_in.owner

    async def read(
        self, of: RepositoryFactory[Rows], work: Callable[[Rows], Awaitable[Answer]]
    ) -> Answer:
        """What `work` finds among the viewer's rows."""
        owner = self.owner
        async with self.turn.reads, self.services.database.read() as session:
            return await work(of(session, owner))

    async def search(
        self, of: RepositoryFactory[Rows], work: Callable[[Rows], Awaitable[Answer]]
    ) -> Answer:
        """Like `read`, for what looks at many rows: one after the other."""
        async with self.turn.search:
            return await self.read(of, work)

    async def write(
        self, of: RepositoryFactory[Rows], work: Callable[[Rows], Awaitable[Answer]]
    ) -> Answer:
        """A change by one statement, a transaction of its own."""
        owner = self.owner
        return await self.services.database.write(lambda session: work(of(session, owner)))

    async def transact(
        self, of: RepositoryFactory[Rows], work: Callable[[Rows], Awaitable[Answer]]
    ) -> Answer:
        """A change by several statements: all or nothing, perhaps run more than once."""
        owner = self.owner
        return await self.services.database.transaction(lambda session: work(of(session, owner)))

    async def once(
        self,
        of: RepositoryFactory[Rows],
        work: Callable[[Rows], Awaitable[Row]],
        *,
        key: str | None,
        asked: object,
        answer: type[Row],
    ) -> Row:
        """A change by one statement that a retry under the same key does not repeat."""
        if key is None:
            return await self.write(of, work)
        owner = self.owner

        async def guarded(session: Session) -> Row:
            keys = Idempotency(session, owner)
            return await keys.once(key, asked, lambda: work(of(session, owner)), answer=answer)

        return await self.services.database.transaction(guarded)


def address_of(scope: Scope) -> str:
    """Whom a request came from; empty where nobody told."""
    client = scope.get("client")
    return client[0] if client else ""


Info: TypeAlias = strawberry.Info[Context, None]

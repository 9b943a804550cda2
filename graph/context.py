"""The context of one operation: its viewer, the services and the loaders."""

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
"""Makes a repository for a session and an owner; usually the repository class itself."""


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
    """Created for each operation, and for each event of a subscription.

    Resolvers reach repositories only through it, which binds them to the viewer as the owner.
    """

    services: Services
    viewer: Viewer | None
    request_id: str
    scope: Scope = field(default_factory=dict)
    """ASGI scope of the HTTP request or the WebSocket."""
    loaders: dict[type, Any] = field(default_factory=dict)
    turn: Turn = UNRATIONED

    @property
    def signed_in(self) -> Viewer:
        """The viewer. Raises `Unauthenticated` if the caller is not signed in."""
        if self.viewer is None:
            raise Unauthenticated(
                "This field requires a signed-in user.",
                hint="Call `signIn` and send `Authorization: Bearer <accessToken>`.",
            )
        return self.viewer

    @property
    def client_address(self) -> str:
        return address_of(self.scope)

    @property
    def base_url(self) -> str:
        """Scheme and host from the request, the prefix of links. Empty if there is no host."""
        host = dict(self.scope.get("headers", ())).get(b"host", b"").decode("latin-1")
        scheme = self.scope.get("scheme", "http").replace("ws", "http")
        return f"{scheme}://{host}" if host else ""

    def end_turn(self) -> None:
        """Releases the slot before a long wait, so that it does not block other operations."""
        self.turn.end()

    @property
    def owner(self) -> OwnerId:
        """The owner of the rows that this operation may read and change."""
        return self.signed_in.owner

    async def read(
        self, of: RepositoryFactory[Rows], work: Callable[[Rows], Awaitable[Answer]]
    ) -> Answer:
        """Runs `work` on the viewer's rows in a read session."""
        owner = self.owner
        async with self.turn.reads, self.services.database.read() as session:
            return await work(of(session, owner))

    async def search(
        self, of: RepositoryFactory[Rows], work: Callable[[Rows], Awaitable[Answer]]
    ) -> Answer:
        """Like `read`, for statements that scan many rows; runs one at a time for a viewer."""
        async with self.turn.search:
            return await self.read(of, work)

    async def write(
        self, of: RepositoryFactory[Rows], work: Callable[[Rows], Awaitable[Answer]]
    ) -> Answer:
        """Runs a change that consists of one statement, in its own transaction."""
        owner = self.owner
        return await self.services.database.write(lambda session: work(of(session, owner)))

    async def transact(
        self, of: RepositoryFactory[Rows], work: Callable[[Rows], Awaitable[Answer]]
    ) -> Answer:
        """Runs a change of several statements in a transaction. `work` may run more than once."""
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
        """Runs a change once per idempotency key. A retry returns the first result."""
        if key is None:
            return await self.write(of, work)
        owner = self.owner

        async def guarded(session: Session) -> Row:
            keys = Idempotency(session, owner)
            return await keys.once(key, asked, lambda: work(of(session, owner)), answer=answer)

        return await self.services.database.transaction(guarded)


def address_of(scope: Scope) -> str:
    """Client address of a request. Empty if the server does not know it."""
    client = scope.get("client")
    return client[0] if client else ""


Info: TypeAlias = strawberry.Info[Context, None]

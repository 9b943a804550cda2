"""The context of one operation: the viewer, the services and the loaders."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn, Protocol, TypeAlias, TypeVar

import strawberry
from starlette.types import Scope

from db.client_networks import network_of, remember_network
from db.concurrency.byte_budget import ByteBudget
from db.concurrency.fair_slots import Share
from db.errors import BadInput, Unauthenticated
from db.kit.base import OwnerId
from db.kit.idempotency import run_once
from db.kit.lists.long_texts import make_text_budget
from db.postgres.monitoring.figures import StatementCount
from db.postgres.sessions import ReadSession, Session, SingleReads
from db.postgres.standbys import OperationReads, RoutedReads
from db.services import Services
from graph.auth import Viewer

RepositoryT = TypeVar("RepositoryT")
T = TypeVar("T")
Row = TypeVar("Row", bound=NamedTuple)
RepositoryFactory: TypeAlias = Callable[[Session, OwnerId], RepositoryT]
"""Makes a repository for a session and an owner."""
ReaderFactory: TypeAlias = Callable[[ReadSession, OwnerId], RepositoryT]
"""Makes a repository on a read session: mypy refuses its methods that change rows."""

FORWARDED_HOST = "howdah.forwarded_host"
"""Key of the scope: the host that a trusted proxy forwards (graph.transport.middleware.proxies)."""


class OperationSlot(Protocol):
    """Permits this operation to run (graph.operations.admission)."""

    @property
    def read_share(self) -> Share | None:
        """Hold this during a statement that occupies a connection."""

    @property
    def large_read_share(self) -> AbstractAsyncContextManager[None]:
        """Hold this during a read of many rows."""

    def end(self) -> None: ...

    def require_room(self) -> None:
        """Call before a read that may be large: raises `Overloaded` if the user holds too much."""

    def hold(self, size: int) -> None:
        """Count the bytes of a read until `free`."""

    def free(self) -> None: ...

    def close(self) -> None: ...


class UnlimitedSlot:
    """The slot of work that is not an operation of a user: never limited."""

    large_read_share = contextlib.nullcontext()

    @property
    def read_share(self) -> None:
        return None

    def end(self) -> None:
        """Do nothing: no operation waits for it."""

    def require_room(self) -> None:
        """Do nothing: it is no user's."""

    def hold(self, size: int) -> None:
        """Do nothing: it is not limited."""

    def free(self) -> None:
        """Do nothing: it holds nothing."""

    def close(self) -> None:
        """Do nothing, as above."""


UNLIMITED_SLOT = UnlimitedSlot()


class RefreshCookie(Protocol):
    """The refresh token of a browser in a cookie (graph.transport.http.refresh_cookie)."""

    def require_allowed(self) -> None:
        """Raises `Forbidden` or `BadInput` if the request may not use the cookie."""

    def read(self) -> str:
        """The token that the browser sent. Raises also if there is none."""

    def write(self, token: str, *, seconds: int) -> None: ...

    def clear(self) -> None: ...

    def read_device(self) -> str | None:
        """The mark of the device (db.users.tokens.device_marks), or None if there is none."""

    def write_device(self, mark: str) -> None: ...


class _NoRefreshCookie:
    """The cookie of a transport whose responses cannot set one."""

    def require_allowed(self) -> NoReturn:
        raise BadInput(
            "The refresh cookie works over plain HTTP only.",
            hint="Send this operation by POST, or pass `refreshToken` and omit `cookie`.",
        )

    def read(self) -> NoReturn:
        self.require_allowed()

    def write(self, token: str, *, seconds: int) -> NoReturn:  # noqa: ARG002 - the protocol
        self.require_allowed()

    def clear(self) -> NoReturn:
        self.require_allowed()

    def read_device(self) -> NoReturn:
        self.require_allowed()

    def write_device(self, mark: str) -> NoReturn:  # noqa: ARG002 - the protocol
        self.require_allowed()


NO_REFRESH_COOKIE = _NoRefreshCookie()


@dataclass(slots=True, kw_only=True)
class Context:
    """The context that resolvers receive, one per operation.

    Resolvers access repositories only through it, limited to the rows of the viewer.
    """

    services: Services
    viewer: Viewer | None
    request_id: str
    scope: Scope = field(default_factory=dict)
    """The ASGI scope of the HTTP request or WebSocket."""
    loaders: dict[type, Any] = field(default_factory=dict)
    slot: OperationSlot = UNLIMITED_SLOT
    task: asyncio.Task[Any] | None = None
    """The task that executes the operation; None if each field may have a task of its own."""
    refresh_cookie: RefreshCookie = NO_REFRESH_COOKIE
    reports_cost: bool = False
    """Whether the next answer says what the operation costs."""
    cost: int | None = None
    """The requested fields, once they are counted."""
    statements: StatementCount = field(default_factory=StatementCount)
    text_budget: ByteBudget | None = None
    """That of `require_text_budget`, once something has been read."""
    operation_reads: OperationReads | None = None
    """Where the operation reads, if its client keeps a position (db.postgres.standbys)."""

    @property
    def signed_in(self) -> Viewer:
        """The viewer.

        Raises:
            Unauthenticated: the request has no session.
        """
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
    def user_agent(self) -> str:
        """What the client says it is; empty if it says nothing."""
        return _header(self.scope, b"user-agent")

    @property
    def base_url(self) -> str:
        """The start of absolute links: HOWDAH_PUBLIC_URL, or scheme and host of the request.

        Behind a trusted proxy the host is the one that the proxy forwards.
        """
        if (public_url := self.services.settings.public_url) is not None:
            return public_url.rstrip("/")
        host = self.scope.get(FORWARDED_HOST) or _header(self.scope, b"host")
        scheme = self.scope.get("scheme", "http").replace("ws", "http")
        return f"{scheme}://{host}" if host else ""

    def begin_event(self) -> None:
        """Each event of a subscription reads current data, as an operation of its own."""
        self.loaders.clear()
        self.text_budget = None
        self.slot.free()

    def forget_loaded(self) -> None:
        """Clear the loaders: each root field of a mutation reads what the last one wrote."""
        self.loaders.clear()

    def remember_network(self) -> None:
        """Call before work that takes a slot: users of one network share slots."""
        remember_network(self.owner, network_of(self.client_address))

    def release_slot(self) -> None:
        """Call before a long wait, so that the next operation of the viewer can run."""
        if self.operation_reads is not None:
            self.operation_reads.leave_standby()  # which may lack what the operation waits for
        self.slot.end()

    @property
    def owner(self) -> OwnerId:
        """The owner of all rows that this operation can access."""
        return self.signed_in.owner

    def require_text_budget(self) -> ByteBudget:
        """`text_budget`, which the first call makes: what the operation may read of long texts."""
        if self.text_budget is None:
            self.text_budget = make_text_budget(self.slot)
        return self.text_budget

    def open_reads(self) -> SingleReads | RoutedReads:
        """A session for one batch of reads."""
        share = self.slot.read_share
        if self.operation_reads is not None:
            return self.operation_reads.open(share, self.require_text_budget)
        return self.services.database.read(share=share, text_budget=self.require_text_budget)

    def read(
        self, repository: ReaderFactory[RepositoryT], work: Callable[[RepositoryT], Awaitable[T]]
    ) -> Awaitable[T]:
        """Run `work` with a repository of the viewer, for reading."""
        return work(repository(self.open_reads(), self.owner))

    async def search(
        self, repository: ReaderFactory[RepositoryT], work: Callable[[RepositoryT], Awaitable[T]]
    ) -> T:
        """Like `read`, for reads of many rows. A viewer runs few at a time."""
        async with self.slot.large_read_share:
            return await self.read(repository, work)

    def write(
        self,
        repository: RepositoryFactory[RepositoryT],
        work: Callable[[RepositoryT], Awaitable[T]],
    ) -> Awaitable[T]:
        """Run a change of one statement in its own transaction."""
        owner = self.owner
        return self.services.database.write(lambda session: work(repository(session, owner)))

    def transact(
        self,
        repository: RepositoryFactory[RepositoryT],
        work: Callable[[RepositoryT], Awaitable[T]],
    ) -> Awaitable[T]:
        """Run a change of several statements in one transaction. `work` may be retried."""
        owner = self.owner
        return self.services.database.transaction(lambda session: work(repository(session, owner)))

    async def once(
        self,
        repository: RepositoryFactory[RepositoryT],
        work: Callable[[RepositoryT], Awaitable[Row]],
        *,
        key: str | None,
        request: object,
        answer: type[Row],
        audited: bool = False,
    ) -> Row:
        """Run a change at most once per idempotency key.

        Without a key it is one statement, unless it is `audited`: the event is another.
        """
        if key is None:
            return await (self.transact if audited else self.write)(repository, work)
        owner = self.owner
        return await run_once(
            self.services.database,
            owner,
            lambda session: work(repository(session, owner)),
            key=key,
            request=request,
            answer=answer,
        )


def _header(scope: Scope, name: bytes) -> str:
    value: str = dict(scope.get("headers", ())).get(name, b"").decode("latin-1")
    return value


def address_of(scope: Scope) -> str:
    """The IP address of the client; empty if the server does not know it."""
    client = scope.get("client")
    return client[0] if client else ""


Info: TypeAlias = strawberry.Info[Context, None]

"""Who acts in this task, and from where: set when a request begins."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import NamedTuple
from uuid import UUID

MAX_ADDRESS_LENGTH = 64


class Actor(NamedTuple):
    """The user whose token the request has, and the origin of the request."""

    user_id: UUID | None = None
    session_id: UUID | None = None
    token_id: UUID | None = None
    """The access token for programs, if the request has one."""
    request_id: str = ""
    address: str = ""
    operator: str | None = None
    """Account of the operating system that runs a command."""

    @property
    def is_known(self) -> bool:
        """False for a sweep, which removes what has expired without an event."""
        return self.user_id is not None or self.operator is not None

    @property
    def shown_address(self) -> str:
        """The address without what a proxy may forward besides: PostgreSQL refuses U+0000."""
        return "".join(filter(str.isprintable, self.address))[:MAX_ADDRESS_LENGTH]


_NO_ACTOR = Actor()

current_actor: ContextVar[Actor] = ContextVar("current_actor", default=_NO_ACTOR)
"""Inherited by the tasks that a request starts. A run stores it, because it may outlive them."""


def act_as(user_id: UUID, session_id: UUID | None, token_id: UUID | None) -> None:
    """Names the user of a request that has no access token, such as the holder of a link."""
    actor = current_actor.get()
    current_actor.set(actor._replace(user_id=user_id, session_id=session_id, token_id=token_id))


@contextlib.contextmanager
def acting(actor: Actor) -> Iterator[None]:
    """Sets the actor within the block."""
    token = current_actor.set(actor)
    try:
        yield
    finally:
        current_actor.reset(token)

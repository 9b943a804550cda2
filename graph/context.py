"""What one operation knows: who asks, what the server is made of, what was already loaded."""

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import strawberry

from db.base import OwnerId
from db.errors import Unauthenticated
from db.services import Services
from graph.auth import Viewer


@dataclass(slots=True, kw_only=True)
class Context:
    """Made once per operation, and for a subscription once per event."""

    services: Services
    viewer: Viewer | None
    request_id: str
    client_address: str
    loaders: dict[type, Any] = field(default_factory=dict)

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
    def owner(self) -> OwnerId:
        """Whose rows this operation may touch."""
        return self.signed_in.owner


Info: TypeAlias = strawberry.Info[Context, None]

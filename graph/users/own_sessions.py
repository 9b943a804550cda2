"""GraphQL types, inputs and payloads of the viewer's sessions."""

from datetime import datetime

import strawberry

from db.users import SessionList, SessionRow
from graph.context import Info
from graph.kit.fields import attribute, field
from graph.kit.ids import Node, node
from graph.kit.loaders import ById
from graph.users.devices import describe_device


class SessionById(ById[SessionRow]):
    repository = SessionList


@strawberry.type(
    description="A session of the viewer: one sign-in on one device, until sign-out or expiry."
)
@node("signin", row=SessionRow, loader=SessionById)
class UserSession(Node):
    user_agent: str | None = attribute(
        "`User-Agent` header of the last sign-in or refresh. Null if there was none."
    )
    address: str | None = attribute(
        "IP address of the last sign-in or refresh. Null if the server does not know it, or the "
        "operator created the session."
    )
    created_at: datetime = attribute("Time of the sign-in.")
    last_used_at: datetime = attribute("Time of the last use, to about five minutes.")
    expires_at: datetime = attribute(
        "Time the session ends unless it is refreshed. A session ends 90 days after the sign-in at "
        "the latest; the operator can change this."
    )

    @field("Browser and system by the `User-Agent` header. Null if there was none.")
    def device(root: strawberry.Parent[SessionRow]) -> str | None:
        return describe_device(root.user_agent)

    @field("True for the session that this request uses.")
    def current(root: strawberry.Parent[SessionRow], info: Info) -> bool:
        return bool(root.id == info.context.signed_in.session_id)


@strawberry.input(description="Input of `endSession`.")
class EndSessionInput:
    id: strawberry.ID = attribute("ID of the `UserSession` to end, from `mySessions`.")


@strawberry.type(description="Payload of `endSession`.")
class EndSessionPayload:
    ended_session_id: strawberry.ID = attribute("ID of the ended session.")

"""GraphQL types of users and sessions."""

from datetime import datetime

import strawberry

from db.users import UserRow
from graph.auth import Role
from graph.kit.fields import attribute, field
from graph.kit.ids import Node, node
from graph.users.loaders import UserById


@strawberry.type(description="A user account.")
@node("user", row=UserRow, loader=UserById)
class User(Node):
    email: str | None = attribute(
        "E-mail address. Null if the user comes from an external issuer that does not provide one."
    )
    name: str = attribute("Display name.")
    created_at: datetime = attribute(
        "Time the account was created. For a user of an external issuer, the time of the first "
        "request."
    )

    @field("Role, which determines what the user is allowed to do.")
    def role(root: strawberry.Parent[UserRow]) -> Role:
        return Role(root.role)


@strawberry.type(
    name="Session", description="Tokens of a session, returned by sign-up, sign-in and refresh."
)
class ClientSession:
    access_token: str = attribute(
        "Token that authenticates requests: `Authorization: Bearer <accessToken>`. "
        "Valid until `expiresAt`."
    )
    refresh_token: str = attribute(
        "Token for `refreshSession`. It can be used once. Store it as a secret."
    )
    expires_at: datetime = attribute(
        "Time `accessToken` expires. Call `refreshSession` before this time."
    )

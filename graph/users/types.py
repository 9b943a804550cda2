"""GraphQL types of users and sessions."""

from datetime import datetime

import strawberry

from db.users import OwnUser, Role, UserRow
from graph.kit.fields import attribute, graphql_enum, redacted_repr
from graph.kit.ids import Node, node
from graph.kit.loaders import ById

graphql_enum(
    "Role of a user.",
    USER="Can read and change the objects they own.",
    ADMIN="Can also administer the server and its storage providers.",
)(Role)


class UserById(ById[UserRow]):
    """Finds the viewer only. Every other ID is treated as missing."""

    repository = OwnUser


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
    role: Role = attribute("Role, which determines what the user is allowed to do.")


@strawberry.type(
    name="Session", description="Tokens of a session, returned by sign-up, sign-in and refresh."
)
class ClientSession:
    __repr__ = redacted_repr

    access_token: str = attribute(
        "Token that authenticates requests: `Authorization: Bearer <accessToken>`. "
        "Valid until `expiresAt`."
    )
    refresh_token: str | None = attribute(
        "Token for `refreshSession`. It can be used once. Store it as a secret. Null if the "
        "session keeps it in the refresh cookie of the browser."
    )
    expires_at: datetime = attribute(
        "Time `accessToken` expires. Call `refreshSession` before this time."
    )

"""GraphQL types of users and sessions."""

from datetime import datetime

import strawberry

from db.quotas import Usage as UsageReader
from db.quotas import UsageAmount, UsageRow
from db.users import OwnUser, Role, UserRow
from graph.auth import ANY_TOKEN
from graph.context import Info
from graph.kit.fields import attribute, field, graphql_enum, redacted_repr
from graph.kit.ids import Node, node
from graph.kit.loaders import ById
from graph.kit.scalars import BigInt

graphql_enum(
    "Role of a user.",
    USER="Can read and change the objects they own.",
    ADMIN="Can also administer the server and its storage providers.",
)(Role)


class UserById(ById[UserRow]):
    """Finds the viewer only. Every other ID is treated as missing."""

    repository = OwnUser


@strawberry.type(name="UsageAmount", description="How much of one quota a user has used.")
class UsageAmountType:
    used: BigInt = attribute("Amount that is used now.")
    limit: BigInt | None = attribute(
        "Amount from which more is refused with `TOO_LARGE`, or the oldest is removed. Null means "
        "no limit."
    )


def _amount(description: str) -> UsageAmount:
    amount: UsageAmount = attribute(description, type=UsageAmountType)
    return amount


@strawberry.type(
    description="What a user stores, and the limits that the operator has set. The numbers are "
    "counted when the field is queried."
)
class Usage:
    connections: UsageAmount = _amount("Saved connections.")
    buckets: UsageAmount = _amount("Buckets.")
    files: UsageAmount = _amount("Files in all buckets.")
    file_bytes: UsageAmount = _amount(
        "Size of all files in bytes. A pending replacement counts with the larger of its sizes."
    )
    tasks: UsageAmount = _amount("Tasks.")
    open_sessions: UsageAmount = _amount(
        "Open database sessions, including those of scripts. Above `limit`, `openSession` fails "
        "with `RATE_LIMITED`."
    )
    query_runs: UsageAmount = _amount(
        "Query runs. Above `limit`, the oldest are removed within 10 minutes."
    )
    query_run_text_bytes: UsageAmount = _amount(
        "Size of the statements, parameters, notices, columns and errors of all query runs in "
        "bytes. Above `limit`, new runs are refused, and the oldest are removed within 10 minutes."
    )
    query_run_result_bytes: UsageAmount = _amount(
        "Size of the results of all query runs in bytes. Above `limit`, the runs with the oldest "
        "results are removed within 10 minutes."
    )
    saved_queries: UsageAmount = _amount("Saved queries.")
    saved_query_bytes: UsageAmount = _amount(
        "Size of the texts and parameters of all saved queries and their earlier versions in bytes."
    )


@strawberry.type(description="A user account.")
@node("user", row=UserRow, loader=UserById, scopes=ANY_TOKEN)
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
    suspended_at: datetime | None = attribute(
        "Time an admin suspended the user, who cannot sign in since. Null if they are not "
        "suspended."
    )

    @field(
        "What the user stores, and the limits. Null unless the user is the viewer.",
        type=Usage | None,
    )
    async def usage(root: strawberry.Parent[UserRow], info: Info) -> UsageRow | None:
        context = info.context
        if context.viewer is None or context.viewer.id != root.id:
            return None
        return await context.search(
            lambda session, owner: UsageReader(session, owner, context.services.settings),
            UsageReader.read,
        )


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
    expires_in: int = attribute(
        "Lifetime of `accessToken` in seconds, counted from this response. Unlike `expiresAt`, it "
        "can be used by a client whose clock is wrong."
    )
    device_token: str | None = attribute(
        "Mark of this device after a sign-in with a password. Keep it, also after sign-out, and "
        "pass it to the next `signIn`: wrong passwords of others then do not lock this device out. "
        "Null for `refreshSession`, and if a cookie keeps it."
    )

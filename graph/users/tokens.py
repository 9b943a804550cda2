"""GraphQL types, inputs and payloads of access tokens for programs."""

from datetime import datetime

import strawberry

from db.users import AccessTokenList, AccessTokenRow, AccessTokenScope
from graph.kit.fields import attribute, graphql_enum, optional, redacted_repr
from graph.kit.ids import Node, node
from graph.kit.loaders import ById

graphql_enum(
    "What an access token for programs may do. A scope to write includes reading.",
    TASKS_READ="Reads tasks.",
    TASKS_WRITE="Reads, changes and imports tasks.",
    STORAGE_READ="Reads providers, buckets and files, and requests download URLs.",
    STORAGE_WRITE="Reads and changes buckets and files, and requests upload URLs.",
    WORKBENCH_READ="Reads connections, their catalogues, preferences, query runs and results. "
    "Executes no statement.",
    WORKBENCH_READ_ONLY="As `WORKBENCH_READ`, and executes and cancels statements. Each runs in a "
    "read-only transaction, whatever `readOnly` says.",
    WORKBENCH_WRITE="Reads and changes connections, preferences and query runs, and executes any "
    "statement.",
    ADMIN_READ="Reads what requires the `ADMIN` role, if the user has it.",
    ADMIN_WRITE="Reads and changes what requires the `ADMIN` role, if the user has it.",
)(AccessTokenScope)


class AccessTokenById(ById[AccessTokenRow]):
    repository = AccessTokenList


@strawberry.type(
    description="An access token for a program, created by `createAccessToken`. The token itself "
    "is shown only then."
)
@node("token", row=AccessTokenRow, loader=AccessTokenById)
class AccessToken(Node):
    name: str = attribute("Name, which says what the token is for.")
    scopes: list[AccessTokenScope] = attribute("What the token may do, as it was created.")
    created_at: datetime = attribute("Time the token was created.")
    expires_at: datetime = attribute("Time from which the token is refused.")
    last_used_at: datetime | None = attribute(
        "Time of the last use, to the minute. Null if the token was not used yet."
    )


@strawberry.input(description="Input of `createAccessToken`.")
class CreateAccessTokenInput:
    name: str = attribute("Name that says what the token is for, 1 to 100 characters.")
    scopes: list[AccessTokenScope] = attribute("What the token may do: at least one scope.")
    expires_at: datetime | None = optional(
        "Time from which the token is refused, within the next ten years. Defaults to 90 days "
        "from now.",
        default=None,
    )


@strawberry.input(description="Input of `revokeAccessToken`.")
class RevokeAccessTokenInput:
    id: strawberry.ID = attribute("ID of the access token to revoke.")


@strawberry.type(description="Payload of `createAccessToken`.")
class CreateAccessTokenPayload:
    __repr__ = redacted_repr

    token: str = attribute(
        "The token, for the `Authorization` header: `Bearer howdah_pat_...`. It is stored as a "
        "hash and cannot be shown again."
    )
    access_token: AccessTokenRow = attribute("The created access token.", type=AccessToken)


@strawberry.type(description="Payload of `revokeAccessToken`.")
class RevokeAccessTokenPayload:
    revoked_access_token_id: strawberry.ID = attribute("ID of the revoked access token.")

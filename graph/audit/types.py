"""GraphQL types and inputs of the audit log."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import strawberry

from db.audit import AuditEventRow
from db.kit.audit import AuditKind, AuditOutcome
from graph.audit.loaders import AuditEventById
from graph.context import Info
from graph.kit.fields import attribute, field, graphql_enum, optional
from graph.kit.ids import Node, id_of, node
from graph.kit.scalars import Json

graphql_enum(
    "Act that an audit event records.",
    SIGN_UP="A user created an account.",
    SIGN_IN="A user signed in, or tried to: with a password, a one-time link, or a token that the "
    "operator made.",
    SIGN_OUT="A user signed out.",
    SESSION_ENDED="A user ended one of their sessions, or a sign-in ended the one that was idle "
    "longest, because the user had too many.",
    SESSIONS_ENDED="The operator ended all sessions of a user.",
    REFRESH_TOKEN_REUSED="A refresh token was used again after it had been replaced, so its "  # noqa: S106
    "session was ended.",
    PASSWORD_CHANGED="A user changed the password, or failed to.",  # noqa: S106
    PASSWORD_RESET_CREATED="A link to reset a password was created: by an admin, by the "  # noqa: S106
    "operator, or by mail for the user.",
    PASSWORD_RESET="A password was reset with a link, or an invalid link was used.",  # noqa: S106
    USER_CREATED="The operator or an external issuer created an account.",
    USER_ROLE_CHANGED="The role of a user was changed.",
    USER_SUSPENDED="A user was suspended, which ended their sessions.",
    USER_RESUMED="A suspended user was resumed.",
    USER_REMOVED="A user was deleted with everything they owned.",
    ACCESS_TOKEN_CREATED="A user created an access token for a program.",  # noqa: S106
    ACCESS_TOKEN_REVOKED="A user revoked an access token for a program.",  # noqa: S106
    CONNECTION_SAVED="A connection was created or changed.",
    CONNECTION_DELETED="A connection was deleted.",
    CONNECTION_OPENED="`connect` opened a connection, or failed to.",
    CONNECTION_CLOSED="`disconnect` closed a connection.",
    DATABASE_SESSION_OPENED="`openSession` opened a session on a connection, or failed to.",
    DATABASE_SESSION_CLOSED="A session was closed: by its user, by a time limit, because its "
    "connection was lost, or because the server stopped.",
    CONNECTION_TESTED="A connection was tested.",
    QUERY_RUN="A query run ended.",
    QUERY_RUN_DELETED="A query run was deleted by its owner.",
    RESULT_EXPORTED="The result of a query run was written to a bucket.",
    RESULT_DOWNLOADED="The result of a query run was downloaded.",
    FILE_UPLOADED="The bytes of a file were uploaded.",
    FILE_DOWNLOADED="The bytes of a file were downloaded.",
    FILE_MOVED="A file was moved to another location or bucket.",
    FILE_DELETED="A file was deleted.",
    BUCKET_UPDATED="The name or the visibility of a bucket was changed.",
    BUCKET_DELETED="A bucket was deleted.",
    BSP_CREATED="A storage provider was registered.",
    BSP_UPDATED="The capacity or the addresses of a storage provider were changed.",
    BSP_DELETED="A storage provider was deleted.",
    DATABASE_CHECKED="Howdah's own database was checked for damage.",
    KEYS_ROTATED="The stored secrets were sealed with the current credential key.",
    INSTALLATION_RENEWED="The operator made the database another installation.",
    BACKUP_WRITTEN="A backup was written.",
    BACKUP_RESTORED="A backup was restored into this database.",
)(AuditKind)

graphql_enum(
    "Outcome of an act.",
    SUCCEEDED="The act was done. A query run ended in the state `SUCCEEDED`.",
    FAILED="The act was refused or failed. A query run ended in another state.",
)(AuditOutcome)

_SUBJECTS = {
    AuditKind.RESULT_EXPORTED: "file",
    "SESSION": "signin",
    "ACCESS": "token",
    "CONNECTION": "conn",
    "DATABASE": "session",
    "QUERY": "run",
    "RESULT": "run",
    "FILE": "file",
    "BUCKET": "bucket",
    "BSP": "bsp",
}


def subject_prefix(kind: str) -> str:
    """The prefix of the IDs that events of this kind are about, mostly by its first word."""
    return _SUBJECTS.get(kind) or _SUBJECTS.get(kind.partition("_")[0], "user")


def _user(user_id: UUID | None) -> strawberry.ID | None:
    return None if user_id is None else id_of("user", user_id)


@strawberry.type(
    description="An act in the audit log: who did what, from where, and with which outcome. Events "
    "are never changed, and outlive the objects that they are about."
)
@node("audit", row=AuditEventRow, loader=AuditEventById)
class AuditEvent(Node):
    kind: AuditKind = attribute("The act.")
    outcome: AuditOutcome = attribute("Whether it was done.")
    created_at: datetime = attribute("Time the event was recorded.")

    @field(
        "ID of the request, as in its `X-Request-ID` header and in the log. Null if the act was "
        "not a request."
    )
    def request_id(root: strawberry.Parent[AuditEventRow]) -> str | None:
        return root.request_id or None

    actor_email: str | None = attribute(
        "E-mail address of the actor at that time. Null if `actorId` is null, or the actor has "
        "no address."
    )

    @field(
        "Name of the subject at that time, such as the name of a connection or the e-mail address "
        "of a user. For a failed sign-in to an account that does not exist, `unknown:` and a keyed "
        "digest of the address. Null if the act has no subject."
    )
    def subject_name(root: strawberry.Parent[AuditEventRow]) -> str | None:
        return root.subject_name or None

    @field(
        "ID of the user who acted. Null for an act of the operator on the command line, and if "
        "the caller was not identified."
    )
    def actor_id(root: strawberry.Parent[AuditEventRow]) -> strawberry.ID | None:
        return _user(root.actor_id)

    @field(
        "ID of the user whose account the act concerns: mostly the actor, but for example the user "
        "whose role an admin changed. Null if it concerns no user."
    )
    def user_id(root: strawberry.Parent[AuditEventRow]) -> strawberry.ID | None:
        return _user(root.owner_id)

    @field(
        "ID of the actor's session, the same in all events of the session. Null if the act had "
        "none, as with tokens of an external issuer."
    )
    def session_id(root: strawberry.Parent[AuditEventRow]) -> strawberry.ID | None:
        return None if root.session_id is None else id_of("signin", root.session_id)

    @field(
        "ID of the access token for programs that acted, also after it was revoked. Null if a "
        "session acted."
    )
    def access_token_id(root: strawberry.Parent[AuditEventRow]) -> strawberry.ID | None:
        return None if root.token_id is None else id_of("token", root.token_id)

    @field(
        "Network address of the client. Null if the act was not a request, and for users other "
        "than admins if another user acted."
    )
    def client_address(root: strawberry.Parent[AuditEventRow], info: Info) -> str | None:
        viewer = info.context.signed_in
        is_hidden = root.actor_id not in {None, viewer.id} and not viewer.is_admin
        return None if is_hidden else root.address or None

    @field(
        "ID of the object that the act is about, which may have been deleted since. Its prefix "
        "names the type. Null if the act has no subject."
    )
    def subject_id(root: strawberry.Parent[AuditEventRow]) -> strawberry.ID | None:
        return (
            None if root.subject_id is None else id_of(subject_prefix(root.kind), root.subject_id)
        )

    @field(
        "Further facts as a JSON object; its keys depend on `kind`. For a query run: `state`, "
        "`statement` with secrets hidden, up to 10,000 characters, `database`, `username`, "
        "`rowCount`, `elapsedMs` and more."
    )
    def details(root: strawberry.Parent[AuditEventRow]) -> Json:
        found: Any = msgspec.json.decode(root.details)
        return Json(found)


@strawberry.input(
    description="Conditions for a list of audit events. An event must satisfy all of them. "
    "Omitted or null conditions are ignored."
)
class AuditEventFilter:
    kinds: list[AuditKind] | None = optional("Only events of one of these kinds.")
    outcome: AuditOutcome | None = optional("Only events with this outcome.")
    user_id: strawberry.ID | None = optional("Only events that concern this user.")
    actor_id: strawberry.ID | None = optional("Only acts of this user.")
    request_id: str | None = optional("Only events of this request. 1 to 64 characters.")
    created_after: datetime | None = optional("Only events recorded after this time.")
    created_before: datetime | None = optional("Only events recorded before this time.")

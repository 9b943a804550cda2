"""Merges the domains into one schema."""

from typing import Any

import strawberry
from graphql.utilities.print_schema import print_schema_definition
from strawberry.schema.config import StrawberryConfig
from strawberry.tools import merge_types

from graph.audit import resolvers as audit
from graph.connections import resolvers as connections
from graph.kit import nodes
from graph.kit.scalars import scalar_map
from graph.kit.scopes import resolve_scopes
from graph.runs import imports
from graph.runs import resolvers as runs
from graph.runs.changes import change_resolvers as row_changes
from graph.runs.plans import plan_resolvers as plans
from graph.runs.sessions import session_resolvers as database_sessions
from graph.saved_queries import resolvers as saved_queries
from graph.scripts import resolvers as scripts
from graph.storage import resolvers as storage
from graph.system import resolvers as system
from graph.tasks import resolvers as tasks
from graph.users import access, administration
from graph.users import resolvers as users

DOMAINS = (
    nodes,
    system,
    users,
    access,
    administration,
    tasks,
    storage,
    connections,
    runs,
    imports,
    row_changes,
    plans,
    database_sessions,
    scripts,
    saved_queries,
    audit,
)


DESCRIPTION = """\
Howdah is a server for people who work on PostgreSQL: it runs SQL on their databases, and keeps
their tasks and files.

- **Sign in** with `signUp` or `signIn`, and send `Authorization: Bearer <accessToken>`.
- **Lists** are connections: pass `first` or `last`, and continue with a cursor of `pageInfo`.
- **Errors** have a `message`, and in `extensions` a `code`, a `hint` that says what to do, and
  the input `field` that is wrong.
- **Nulls**: every field of `Query` and `Mutation` is nullable, so that one that fails leaves the
  others.
- **Retries** are safe with `idempotencyKey` or `expectedVersion`.
- **Live updates** are the fields of `Subscription`."""


class _DescribedSchema(strawberry.Schema):
    """A schema with a description, which Strawberry neither takes nor prints."""

    def __init__(self, *, description: str, **options: Any) -> None:
        super().__init__(**options)
        self._schema.description = description

    def as_str(self) -> str:
        return f"{print_schema_definition(self._schema)}\n\n{super().as_str()}"


def _roots(name: str) -> tuple[type[Any], ...]:
    found = []
    for domain in DOMAINS:
        if (root := getattr(domain, name, None)) is not None:
            scopes = getattr(domain, "SCOPES", None)
            resolve_scopes(root, scopes, changes=name == "Mutation")
            found.append(root)
    return tuple(found)


def _merged(name: str, description: str) -> type[Any]:
    merged = merge_types(name, _roots(name))
    merged.__strawberry_definition__.description = description  # type: ignore[attr-defined]  # set by Strawberry
    return merged


schema = _DescribedSchema(
    description=DESCRIPTION,
    query=_merged(
        "Query",
        "Reads. Every field except `health` and `viewer` requires a signed-in user and returns "
        "only what this user may see.",
    ),
    mutation=_merged(
        "Mutation",
        "Changes. The fields of one document run one after the other, each in a transaction of "
        "its own. A change of an object that does not exist fails with `NOT_FOUND`, of another "
        "user's object with `FORBIDDEN`, and one that would exceed a quota (`User.usage`) with "
        "`TOO_LARGE`.",
    ),
    subscription=_merged(
        "Subscription",
        "Events, over WebSocket (`graphql-transport-ws`), Server-Sent Events or multipart. When "
        "the access token expires, a WebSocket is closed with code 4403, and a stream ends with "
        "an `UNAUTHENTICATED` error.",
    ),
    config=StrawberryConfig(scalar_map=scalar_map),
)

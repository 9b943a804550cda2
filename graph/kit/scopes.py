"""The scopes that an access token for programs needs for each root field.

A root field follows its domain, unless it declares `scopes` itself. A domain without `SCOPES`, and
a field that is declared in another way, admit sessions only.
"""

from typing import Any, NamedTuple

from db.users import AccessTokenScope, Scopes
from graph.auth import ANY_TOKEN, AdminOnly, Anyone
from graph.kit.fields import BY_DOMAIN, SCOPES, WHO


class DomainScopes(NamedTuple):
    """Assigned to `SCOPES` of the module that declares the root fields of a domain."""

    read: Scopes
    """For its queries and subscriptions, and for its objects by ID."""
    write: Scopes
    """For its mutations."""


TASKS = DomainScopes(
    frozenset({AccessTokenScope.TASKS_READ}), frozenset({AccessTokenScope.TASKS_WRITE})
)
STORAGE = DomainScopes(
    frozenset({AccessTokenScope.STORAGE_READ}), frozenset({AccessTokenScope.STORAGE_WRITE})
)
WORKBENCH = DomainScopes(
    frozenset({AccessTokenScope.WORKBENCH_READ}), frozenset({AccessTokenScope.WORKBENCH_WRITE})
)
ADMIN = DomainScopes(
    frozenset({AccessTokenScope.ADMIN_READ}), frozenset({AccessTokenScope.ADMIN_WRITE})
)

TO_RUN: Scopes = frozenset({AccessTokenScope.WORKBENCH_READ_ONLY})
"""For mutations that a token which may only run read-only statements may use too."""


def resolve_scopes(root: type, domain: DomainScopes | None, *, changes: bool) -> None:
    """Writes the scopes into the metadata of the fields of one root type of a domain."""
    for field in root.__strawberry_definition__.fields:  # type: ignore[attr-defined]  # set by Strawberry
        if field.metadata.get(SCOPES) is BY_DOMAIN:
            scopes = _scopes_of(field.metadata[WHO], domain, changes=changes)
            field.metadata = {**field.metadata, SCOPES: scopes}


def _scopes_of(who: Any, domain: DomainScopes | None, *, changes: bool) -> Scopes | None:
    if who is Anyone:
        return None if changes else ANY_TOKEN  # a mutation for anyone opens a session
    if who is AdminOnly:
        domain = ADMIN
    if domain is None:
        return None
    return domain.write if changes else domain.read

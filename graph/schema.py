"""Merges the domains into one schema."""

from typing import Any

import strawberry
from strawberry.schema.config import StrawberryConfig
from strawberry.tools import merge_types

from graph.connections import resolvers as connections
from graph.kit import nodes
from graph.kit.scalars import scalar_map
from graph.runs import resolvers as runs
from graph.storage import resolvers as storage
from graph.system import resolvers as system
from graph.tasks import resolvers as tasks
from graph.users import resolvers as users

DOMAINS = (nodes, system, users, tasks, storage, connections, runs)


def _roots(name: str) -> tuple[type[Any], ...]:
    return tuple(getattr(domain, name) for domain in DOMAINS if hasattr(domain, name))


schema = strawberry.Schema(
    query=merge_types("Query", _roots("Query")),
    mutation=merge_types("Mutation", _roots("Mutation")),
    subscription=merge_types("Subscription", _roots("Subscription")),
    config=StrawberryConfig(scalar_map=scalar_map),
)

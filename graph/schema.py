"""Sums the domains into one schema. Nothing else."""

from typing import Any

import strawberry
from strawberry.schema.config import StrawberryConfig
from strawberry.tools import merge_types

from graph import connections, nodes, runs, storage, system, tasks, users
from graph.scalars import scalar_map

DOMAINS = (nodes, system, users, tasks, storage, connections, runs)


def _roots(name: str) -> tuple[type[Any], ...]:
    return tuple(getattr(domain, name) for domain in DOMAINS if hasattr(domain, name))


schema = strawberry.Schema(
    query=merge_types("Query", _roots("Query")),
    mutation=merge_types("Mutation", _roots("Mutation")),
    subscription=merge_types("Subscription", _roots("Subscription")),
    config=StrawberryConfig(scalar_map=scalar_map),
)

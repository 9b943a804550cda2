"""How a field is declared: a description always; who may call it, where it changes or streams.

Strawberry's own decorators are untyped where they wrap a function; these say what comes out.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import strawberry
from strawberry.permission import BasePermission
from strawberry.types.field import StrawberryField

Declare: TypeAlias = Callable[[Callable[..., Any]], StrawberryField]


def field(description: str, *, returns: Any = None) -> Declare:
    """A field with a resolver; `returns` is its GraphQL type where the resolver answers rows."""
    return strawberry.field(description=description, graphql_type=returns)  # type: ignore[no-any-return]  # the untyped decorator itself


def mutation(description: str, *, who: type[BasePermission], returns: Any = None) -> Declare:
    return strawberry.mutation(  # type: ignore[no-any-return]
        description=description, permission_classes=[who], graphql_type=returns
    )


def subscription(description: str, *, who: type[BasePermission], returns: Any = None) -> Declare:
    return strawberry.subscription(  # type: ignore[no-any-return]
        description=description, permission_classes=[who], graphql_type=returns
    )

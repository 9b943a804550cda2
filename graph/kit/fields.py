"""How a field is declared: a description always; who may call it, where it changes or streams.

Strawberry's own decorators are untyped where they wrap a function; these say what comes out.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import strawberry
from strawberry.permission import BasePermission
from strawberry.types.field import StrawberryField

URGENT = "urgent"
WHO = "who"

Declare: TypeAlias = Callable[[Callable[..., Any]], StrawberryField]


def field(
    description: str, *, who: type[BasePermission] | None = None, type: Any = None
) -> Declare:
    """A field with a resolver; `type` is its GraphQL type where the resolver answers rows."""
    return strawberry.field(  # type: ignore[no-any-return]  # the untyped decorator itself
        description=description,
        permission_classes=[who] if who else [],
        graphql_type=type,
        metadata={WHO: who},
    )


def query(description: str, *, who: type[BasePermission], type: Any = None) -> Declare:
    """A root field whose resolver enforces `who` by itself, through `context.owner`.

    The permission is declared and not asked: the executor calls the resolver directly, which
    is the fastest path. The tests prove that an anonymous caller is refused.
    """
    return strawberry.field(  # type: ignore[no-any-return]
        description=description, graphql_type=type, metadata={WHO: who}
    )


def plain(description: str, *, type: Any = None) -> Any:
    """A field that is an attribute of the row; `type` is its GraphQL type where it is a row too."""
    return strawberry.field(description=description, graphql_type=type)


def optional(description: str, *, default: Any = strawberry.UNSET) -> Any:
    """A field of an input that may be absent; `given` tells absent from null."""
    return strawberry.field(description=description, default=default)


def given(asked: Any) -> dict[str, Any]:
    """What an input names, absent fields left out."""
    found = {name: getattr(asked, name) for name in asked.__dataclass_fields__}
    return {name: value for name, value in found.items() if value is not strawberry.UNSET}


def choice(value: str, description: str) -> Any:
    """A member of an enum."""
    return strawberry.enum_value(value, description=description)


def argument(description: str) -> Any:
    """Goes into `Annotated[...]` of an argument."""
    return strawberry.argument(description=description)


def mutation(
    description: str, *, who: type[BasePermission], type: Any = None, urgent: bool = False
) -> Declare:
    """`urgent` is what ends other work of the same viewer: it does not wait behind it."""
    return strawberry.mutation(  # type: ignore[no-any-return]
        description=description,
        permission_classes=[who],
        graphql_type=type,
        metadata={URGENT: urgent, WHO: who},
    )


def subscription(description: str, *, who: type[BasePermission], type: Any = None) -> Declare:
    return strawberry.subscription(  # type: ignore[no-any-return]
        description=description,
        permission_classes=[who],
        graphql_type=type,
        metadata={WHO: who},
    )

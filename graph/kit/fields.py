"""Declarations of fields, arguments and enum values. Each requires a description.

Mutations and subscriptions also require a permission. The decorators of Strawberry are untyped
where they wrap a function; these add the type.
"""

from collections.abc import Callable, Sequence
from enum import EnumMeta
from typing import Any, Literal, TypeAlias, TypeVar

import strawberry
from strawberry.permission import BasePermission
from strawberry.types.field import StrawberryField

from db.users import Scopes
from graph.executor.hints import LONG_TEXT

URGENT = "urgent"
IGNORES_TOKEN = "ignores token"  # noqa: S105 - the name of a mark
WHO = "who"
SCOPES = "scopes"
READS = "reads"

E = TypeVar("E", bound=EnumMeta)

Declare: TypeAlias = Callable[[Callable[..., Any]], StrawberryField]


class _ByDomain:
    """The scopes of a root field that follow from its domain (graph.kit.scopes)."""


BY_DOMAIN = _ByDomain()
FieldScopes: TypeAlias = Scopes | _ByDomain | None
"""The scopes that an access token for programs needs; None admits sessions only."""


def field(
    description: str,
    *,
    who: type[BasePermission] | None = None,
    type: Any = None,
    scopes: FieldScopes = BY_DOMAIN,
    reads: Sequence[str] | None = None,
    long: str | Literal[True] | None = None,
) -> Declare:
    """Declares a field with a resolver. `type` is its GraphQL type if the resolver returns rows.

    `reads` are the columns of the parent's row that the resolver reads; None for all. The rows of
    pages have no other columns (graph.kit.columns). `long` is the column that the value is made of,
    if its text may be long (`attribute`), or True if the resolver waits for the text.
    """
    counted = {} if long is None else {LONG_TEXT: long}
    return strawberry.field(  # type: ignore[no-any-return]  # the untyped decorator itself
        description=description,
        permission_classes=[who] if who else [],
        graphql_type=type,
        metadata={WHO: who, SCOPES: scopes, READS: reads} | counted,
    )


def query(
    description: str,
    *,
    who: type[BasePermission],
    type: Any = None,
    scopes: FieldScopes = BY_DOMAIN,
) -> Declare:
    """Declares a root field whose resolver enforces `who` itself, through `context.owner`.

    The permission is declared but not called, so that the executor can call the resolver
    directly, the fastest path. Tests check that an anonymous caller is refused.
    """

    def declare(resolver: Callable[..., Any]) -> StrawberryField:
        return strawberry.field(  # type: ignore[no-any-return]
            description=description,
            graphql_type=_nullable(resolver, type),
            metadata={WHO: who, SCOPES: scopes},
        )(resolver)

    return declare


def _nullable(resolver: Callable[..., Any], type: Any) -> Any:
    """The type of a root field: `type`, else that of the resolver's result, but nullable.

    The error of a non-null root field would discard the results of all others (decision 27).
    """
    return (type or resolver.__annotations__["return"]) | None


def attribute(description: str, *, type: Any = None, long: str | None = None) -> Any:
    """Declares a field read from an attribute. `type` is its GraphQL type if that is a row.

    `long` is the name of the attribute if its text may have more than some thousand characters: it
    counts as several fields of the result.
    """
    metadata = None if long is None else {LONG_TEXT: long}
    return strawberry.field(description=description, graphql_type=type, metadata=metadata)


def optional(description: str, *, default: Any = strawberry.UNSET) -> Any:
    """Declares an input field that may be omitted. `provided_fields` excludes it then."""
    return strawberry.field(description=description, default=default)


def retry_key(answer: str, *, more: str = "") -> Any:
    """Declares `idempotencyKey`. `answer` is what a second call returns."""
    description = (
        "Makes a retry safe: a second call with the same key and the same input within 24 hours "
        f"returns {answer}. With another input it fails with `CONFLICT`. Up to 200 characters."
    )
    return optional(f"{description} {more}".rstrip())


def version_guard(noun: str, *, more: str = "") -> Any:
    """Declares `expectedVersion`."""
    description = (
        f"Current `version` of the {noun}. If it differs, the mutation does nothing and fails with "
        "`CONFLICT`. Omit it to skip the check."
    )
    return optional(f"{description} {more}".rstrip())


def redacted_repr(secret: object) -> str:
    """Keeps passwords and tokens out of tracebacks in the log."""
    return f"{type(secret).__name__}(...)"


def provided_fields(value: Any) -> dict[str, Any]:
    """The fields of an input that the client sent, including those that are null."""
    return {
        name: found
        for name in value.__dataclass_fields__
        if (found := getattr(value, name)) is not strawberry.UNSET
    }


def graphql_enum(description: str, **values: str) -> Callable[[E], E]:
    """Makes an enum of `db` or of `graph` a GraphQL enum, with a description of each value by name.

    Rows hold plain strings: a field of this type returns the stored value unchanged.

    Raises:
        TypeError: A value has no description, or a description has no value.
    """

    def declare(cls: E) -> E:
        if values.keys() != cls.__members__.keys():
            wrong = sorted(values.keys() ^ cls.__members__.keys())
            raise TypeError(f"{cls.__name__}: no value or no description of {', '.join(wrong)}")
        strawberry.enum(cls, description=description)
        for value in cls.__strawberry_definition__.values:  # type: ignore[attr-defined]  # set by `enum`
            value.description = values[value.name]
        return cls

    return declare


def argument(description: str) -> Any:
    """Describes an argument, inside its `Annotated[...]`."""
    return strawberry.argument(description=description)


def mutation(
    description: str,
    *,
    who: type[BasePermission],
    type: Any = None,
    urgent: bool = False,
    ignores_token: bool = False,
    scopes: FieldScopes = BY_DOMAIN,
) -> Declare:
    """Declares a mutation.

    An `urgent` one ends other work of the viewer and does not queue. One that `ignores_token`
    authenticates by its input: an access token that is not valid does not refuse it.
    """

    def declare(resolver: Callable[..., Any]) -> StrawberryField:
        return strawberry.mutation(  # type: ignore[no-any-return]
            description=description,
            permission_classes=[who],
            graphql_type=_nullable(resolver, type),
            metadata={
                URGENT: urgent,
                IGNORES_TOKEN: ignores_token,
                WHO: who,
                SCOPES: scopes,
            },
        )(resolver)

    return declare


def subscription(
    description: str,
    *,
    who: type[BasePermission],
    type: Any = None,
    scopes: FieldScopes = BY_DOMAIN,
) -> Declare:
    return strawberry.subscription(  # type: ignore[no-any-return]
        description=description,
        permission_classes=[who],
        graphql_type=type,
        metadata={WHO: who, SCOPES: scopes},
    )

"""Typed, opaque ids (`task_<32 hex>`), and `node`, which finds anything by its id."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import UUID

import strawberry

from db.errors import BadInput
from db.kit.base import parse_uuid
from graph.context import Context
from graph.executor.hints import accepting
from graph.kit.fields import field
from graph.kit.loaders import BatchLoader

T = TypeVar("T", bound=type)

_DIGITS = re.compile(r"[0-9a-f]{32}").fullmatch


class HasId(Protocol):
    """A row with an id."""

    @property
    def id(self) -> UUID: ...


class Kind(NamedTuple):
    """A kind of node: the word before its ids, the row behind it, who loads it."""

    prefix: str
    row: type
    loader: type[BatchLoader[UUID, Any]]


_by_prefix: dict[str, Kind] = {}
_prefixes: dict[type, str] = {}  # by row


def id_of(prefix: str, row_id: UUID) -> strawberry.ID:
    return strawberry.ID(f"{prefix}_{row_id.hex}")


@strawberry.interface(description="Anything that can be found again by its id.")
class Node:
    """What has an id of its own."""

    @field("Opaque; says of what type it is. Pass it on as it came.")
    def id(root: strawberry.Parent[HasId]) -> strawberry.ID:
        return f"{_prefixes[root.__class__]}_{root.id.hex}"  # type: ignore[return-value]  # pages ask for thousands: a call of `ID` each would tell


def node(prefix: str, *, row: type, loader: type[BatchLoader[UUID, Any]]) -> Callable[[T], T]:
    """Makes a GraphQL type findable by `node(id:)`; goes under `@strawberry.type`."""
    kind = Kind(prefix, row, loader)

    @accepting(row)
    def is_type_of(value: object, _info: object) -> bool:
        return isinstance(value, row)

    def register(cls: T) -> T:
        _by_prefix[prefix] = kind
        _prefixes[row] = prefix
        cls.is_type_of = staticmethod(is_type_of)  # type: ignore[attr-defined]  # Strawberry looks for it by this name
        return cls

    return register


def parse_id(prefix: str, value: str, *, argument: str = "id") -> UUID:
    """The id inside, or an error that says what was expected."""
    found, _, digits = value.partition("_")
    if found == prefix and (row_id := _unhex(digits)) is not None:
        return row_id
    if found == prefix:
        shown = "other than 32 hexadecimal digits after it"
    else:
        shown = f"`{found}_…`" if found in _by_prefix else "something else"
    raise BadInput(
        f"`{argument}` is no {prefix} id: expected `{prefix}_…`, got {shown}.",
        hint="Pass on an id as it came from this server.",
        field=argument,
    )


async def find_nodes(context: Context, ids: list[str], *, argument: str) -> list[Any]:
    """Rows of any kind, in the order of their ids; another's is as absent as none."""
    _ = context.owner  # who has no session learns nothing of ids either
    found: list[Any] = [None] * len(ids)
    wanted: dict[Kind, list[tuple[int, UUID]]] = {}
    for place, value in enumerate(ids):
        kind = _kind_of(value, argument=argument)
        wanted.setdefault(kind, []).append((place, parse_id(kind.prefix, value, argument=argument)))
    for kind, places in wanted.items():
        rows = await kind.loader.of(context).load_many([row_id for _, row_id in places])
        for (place, _), row in zip(places, rows, strict=True):
            found[place] = row
    return found


def _kind_of(value: str, *, argument: str) -> Kind:
    kind = _by_prefix.get(value.partition("_")[0])
    if kind is None:
        known = ", ".join(f"`{prefix}_…`" for prefix in sorted(_by_prefix))
        raise BadInput(
            f"`{argument}` holds an id of no known type.",
            hint=f"Ids of this server are {known}.",
            field=argument,
        )
    return kind


def _unhex(digits: str) -> UUID | None:
    return parse_uuid(digits) if _DIGITS(digits) else None

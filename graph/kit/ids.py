"""Typed, opaque IDs (`task_<32 hex>`) and the lookup of nodes by them."""

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


class RowWithId(Protocol):
    @property
    def id(self) -> UUID: ...


class NodeType(NamedTuple):
    """A registered node type: the prefix of its IDs, the class of its rows and its loader."""

    prefix: str
    row: type
    loader: type[BatchLoader[UUID, Any]]


_by_prefix: dict[str, NodeType] = {}
_prefixes: dict[type, str] = {}  # by row


def id_of(prefix: str, row_id: UUID) -> strawberry.ID:
    return strawberry.ID(f"{prefix}_{row_id.hex}")


@strawberry.interface(description="An object with a global ID. Fetch it with `node` or `nodes`.")
class Node:
    @field("Globally unique, opaque ID.")
    def id(root: strawberry.Parent[RowWithId]) -> strawberry.ID:
        return f"{_prefixes[root.__class__]}_{root.id.hex}"  # type: ignore[return-value]  # pages resolve thousands: calling `ID` for each is measurable


def node(prefix: str, *, row: type, loader: type[BatchLoader[UUID, Any]]) -> Callable[[T], T]:
    """Registers a GraphQL type for `node(id:)`. Place it below `@strawberry.type`."""
    kind = NodeType(prefix, row, loader)

    @accepting(row)
    def is_type_of(value: object, _info: object) -> bool:
        return isinstance(value, row)

    def register(cls: T) -> T:
        _by_prefix[prefix] = kind
        _prefixes[row] = prefix
        cls.is_type_of = staticmethod(is_type_of)  # type: ignore[attr-defined]  # Strawberry reads this attribute
        return cls

    return register


def parse_id(prefix: str, value: str, *, argument: str = "id") -> UUID:
    """Parses an ID of the given type.

    Raises:
        BadInput: `value` is not such an ID. The message names the expected format.
    """
    found, _, digits = value.partition("_")
    if found == prefix and (row_id := _unhex(digits)) is not None:
        return row_id
    if found == prefix:
        shown = "an ID without 32 lowercase hexadecimal digits"
    else:
        shown = f"`{found}_…`" if found in _by_prefix else "another value"
    raise BadInput(
        f"`{argument}` is not a {prefix} ID: expected `{prefix}_…`, got {shown}.",
        hint="Pass an ID unchanged, as returned by this server.",
        field=argument,
    )


async def find_nodes(context: Context, ids: list[str], *, argument: str) -> list[Any]:
    """Finds rows of any type, in the order of `ids`. Those not visible to the viewer are None."""
    _ = context.owner  # raises if the caller is not signed in, before any ID is checked
    found: list[Any] = [None] * len(ids)
    wanted: dict[NodeType, list[tuple[int, UUID]]] = {}
    for index, value in enumerate(ids):
        kind = _node_type_of(value, argument=argument)
        wanted.setdefault(kind, []).append((index, parse_id(kind.prefix, value, argument=argument)))
    for kind, positions in wanted.items():
        rows = await kind.loader.of(context).load_many([row_id for _, row_id in positions])
        for (index, _), row in zip(positions, rows, strict=True):
            found[index] = row
    return found


def _node_type_of(value: str, *, argument: str) -> NodeType:
    kind = _by_prefix.get(value.partition("_")[0])
    if kind is None:
        known = ", ".join(f"`{prefix}_`" for prefix in sorted(_by_prefix))
        raise BadInput(
            f"`{argument}` contains an ID of an unknown type.",
            hint=f"Pass an ID that starts with one of {known}.",
            field=argument,
        )
    return kind


def _unhex(digits: str) -> UUID | None:
    return parse_uuid(digits) if _DIGITS(digits) else None

"""Typed, opaque IDs and the lookup of nodes by them.

Most IDs are the prefix of their type and the UUID of a row: `task_<32 hex>`. Objects without a
UUID are named by their container and their names: `table_<32 hex>_<names in base64>`.
"""

import base64
import re
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import UUID

import strawberry

from db.errors import BadInput, HowdahError
from db.kit.base import parse_uuid
from db.users import Scopes
from graph.context import Context
from graph.executor.hints import accepting, spelling
from graph.kit.fields import field
from graph.kit.loaders import BatchLoader

T = TypeVar("T", bound=type)

MAX_NAMES_LENGTH = 2_000
"""Characters of the names in an ID. PostgreSQL's names have up to 63 bytes each."""

_DIGITS = re.compile(r"[0-9a-f]{32}").fullmatch
_SEPARATOR = "\0"  # PostgreSQL accepts it in no name


class RowWithId(Protocol):
    @property
    def id(self) -> UUID: ...


class NameKey(NamedTuple):
    """Identifies an object by the row that contains it, and its names from the outermost on."""

    container: UUID
    names: tuple[str, ...]


class NodeType(NamedTuple):
    """A registered node type: the prefix of its IDs, the class of its rows and its loader."""

    name: str
    prefix: str
    row: type
    loader: type[BatchLoader[Any, Any]]
    scopes: Scopes | None
    """The scopes that an access token for programs needs to read one; None admits sessions only."""
    names: int
    """The number of names in the IDs, whose keys are of `NameKey`; 0 if the keys are UUIDs."""

    def parse(self, value: str, *, argument: str) -> UUID | NameKey:
        if not self.names:
            return parse_id(self.prefix, value, argument=argument)
        key = _parse_names(value.partition("_")[2], self.names)
        if key is None:
            raise _malformed(self.prefix, "an ID that was changed", argument=argument)
        return key


ID_DESCRIPTION = "Globally unique, opaque ID."

_by_prefix: dict[str, NodeType] = {}


def id_of(prefix: str, row_id: UUID) -> strawberry.ID:
    return strawberry.ID(f"{prefix}_{row_id.hex}")


def named_id(prefix: str, key: NameKey) -> strawberry.ID:
    """The ID of an object without a UUID."""
    return strawberry.ID(f"{prefix}_{_format_names(key)}")


@strawberry.interface(description="An object with a global ID. Fetch it with `node` or `nodes`.")
class Node:
    @field(ID_DESCRIPTION)
    @abstractmethod  # `node` declares it for each type
    def id() -> strawberry.ID: ...


def node(
    prefix: str,
    *,
    row: type,
    loader: type[BatchLoader[Any, Any]],
    scopes: Scopes | None = None,
    names: int = 0,
) -> Callable[[T], T]:
    """Registers a GraphQL type for `node(id:)`. Place it below `@strawberry.type`.

    A type with `names` in its IDs replaces the field `id` by one that returns `named_id`.
    """

    @accepting(row)
    def is_type_of(value: object, _info: object) -> bool:
        return isinstance(value, row)

    def register(cls: T) -> T:
        _by_prefix[prefix] = NodeType(cls.__name__, prefix, row, loader, scopes, names)
        if "id" not in vars(cls):
            cls.id = _id_field(prefix)  # type: ignore[attr-defined]
        cls.is_type_of = staticmethod(is_type_of)  # type: ignore[attr-defined]  # Strawberry reads this attribute
        return cls

    return register


def _id_field(prefix: str) -> Any:
    @field(ID_DESCRIPTION, reads=("id",))
    @spelling("id", f"'{prefix}_' + {{0}}.hex")
    def id(root: strawberry.Parent[RowWithId]) -> strawberry.ID:
        return f"{prefix}_{root.id.hex}"  # type: ignore[return-value]  # pages resolve thousands: calling `ID` for each is measurable

    return id


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
    raise _malformed(prefix, shown, argument=argument)


async def find_nodes(context: Context, ids: list[str], *, argument: str) -> list[Any]:
    """Finds rows of any type, in the order of `ids`. Those not visible to the viewer are None.

    An item is an error if the database that has the object did not return it.
    """
    _ = context.owner  # raises if the caller is not signed in, before any ID is checked
    found: list[Any] = [None] * len(ids)
    wanted: dict[NodeType, list[tuple[int, UUID | NameKey]]] = {}
    for index, value in enumerate(ids):
        kind = _node_type_of(value, argument=argument)
        wanted.setdefault(kind, []).append((index, kind.parse(value, argument=argument)))
    for kind in wanted:
        context.signed_in.require_scopes(kind.scopes)
    for kind, positions in wanted.items():
        loader = kind.loader.of(context)
        rows = await loader.load_each([key for _, key in positions])
        for (index, _), row in zip(positions, rows, strict=True):
            if isinstance(row, Exception) and not isinstance(row, HowdahError):
                raise row
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


def _malformed(prefix: str, shown: str, *, argument: str) -> BadInput:
    return BadInput(
        f"`{argument}` is not the ID of a `{_by_prefix[prefix].name}`: expected `{prefix}_…`, "
        f"got {shown}.",
        hint="Pass an ID unchanged, as returned by this server.",
        field=argument,
    )


def _format_names(key: NameKey) -> str:
    packed = base64.urlsafe_b64encode(_SEPARATOR.join(key.names).encode())
    return f"{key.container.hex}_{packed.rstrip(b'=').decode()}"


def _parse_names(text: str, count: int) -> NameKey | None:
    digits, _, packed = text.partition("_")
    container = _unhex(digits)
    if container is None or len(packed) > MAX_NAMES_LENGTH:
        return None
    try:
        joined = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)).decode()
    except ValueError:
        return None
    key = NameKey(container, tuple(joined.split(_SEPARATOR)))
    is_valid = len(key.names) == count and all(key.names)
    return key if is_valid and _format_names(key) == text else None  # base64 has other spellings


def _unhex(digits: str) -> UUID | None:
    return parse_uuid(digits) if _DIGITS(digits) else None

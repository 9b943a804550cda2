"""Relay connections over keyset pages."""

import functools
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, Generic, NamedTuple, TypeVar, cast

import strawberry

from db.errors import BadInput
from db.kit.lists.paging import Page, Window
from db.kit.lists.rows import Rows
from db.kit.number_rules import require_between
from graph.context import Info
from graph.executor.hints import accepting, holding_records, resolving_many
from graph.kit.columns import columns_of_rows
from graph.kit.fields import argument, attribute, field, graphql_enum
from graph.kit.loaders import BatchLoader

Node = TypeVar("Node")

holding_records(Rows)

Resolve = TypeVar("Resolve", bound=Callable[..., Awaitable["Listing"]])

_SIZE = "Returns the {} *n* items, 1 to 1000. Pass either `first` or `last`."
_CURSOR = "Cursor. Only items {} it are returned."
_ARGUMENTS = [
    Parameter(
        name,
        Parameter.POSITIONAL_OR_KEYWORD,
        default=None,
        annotation=Annotated[type_, argument(words.format(name))],
    )
    for name, type_, words in (
        ("first", int | None, _SIZE),
        ("after", str | None, _CURSOR),
        ("last", int | None, _SIZE),
        ("before", str | None, _CURSOR),
    )
]


_INFO = Parameter("info", Parameter.POSITIONAL_OR_KEYWORD, annotation=Info)


@dataclass(slots=True)
class Listing:
    """A page of a list, and a function that counts the whole list if `totalCount` is selected."""

    page: Page[Any]
    count_all: Callable[[], Awaitable[int]]


def paged(resolver: Resolve) -> Resolve:
    """Declares `first`, `after`, `last` and `before` in place of the resolver's `window`.

    Strawberry reads the arguments of a field from the signature of its resolver, so the declared
    signature has the four arguments and the resolver receives the `Window` made of them.
    """

    @functools.wraps(resolver)
    async def resolve(*source: Any, info: Info, **named: Any) -> Listing:
        return await resolver(*source, info=info, **_with_window(info, named))

    resolve.__signature__ = _with_arguments(signature(resolver))  # type: ignore[attr-defined]
    return cast("Resolve", resolve)


def paged_by(loader_type: type[BatchLoader[Any, Any]]) -> Callable[[Callable[..., Any]], Any]:
    """Like `paged`, for a list of each row of a type: decorates a function that makes a key.

    The loader returns the page of a key. If the key's `window` is None, it returns the number of
    items. The rows of one list share one call of the loader.
    """

    def declare(key_of: Callable[..., Any]) -> Any:
        async def resolve_many(
            parents: Sequence[Any], *, info: Info, **named: Any
        ) -> Sequence[Listing | Exception]:
            arguments = _with_window(info, named)
            keys = [key_of(parent, **arguments) for parent in parents]
            loader = loader_type.of(info.context)
            return [
                page if isinstance(page, Exception) else _listing(loader, key, page)
                for key, page in zip(keys, await loader.load_each(keys), strict=True)
            ]

        @resolving_many(resolve_many)
        @functools.wraps(key_of)
        async def resolve(root: Any, *, info: Info, **named: Any) -> Listing:
            key, loader = key_of(root, **_with_window(info, named)), loader_type.of(info.context)
            return _listing(loader, key, await loader.load(key))

        resolve.__signature__ = _with_arguments(signature(key_of), _INFO)  # type: ignore[attr-defined]
        return resolve

    return declare


def _listing(loader: BatchLoader[Any, Any], key: Any, page: Page[Any] | None) -> Listing:
    assert page is not None  # noqa: S101 - every parent gets a page, which may be empty

    async def count() -> int:
        return await loader.load(key._replace(window=None)) or 0

    return Listing(page, count)


def _with_window(info: Info, named: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a paged field, with the window in place of its four arguments."""
    first, after, last, before = (named.pop(each.name, None) for each in _ARGUMENTS)
    size = _checked_size(first, last, info.context.services.settings.max_page_size)
    named["window"] = Window(size, first is None, after, before, columns_of_rows(info))
    return named


def _with_arguments(declared: Signature, *more: Parameter) -> Signature:
    parameters: list[Parameter] = []
    for name, parameter in declared.parameters.items():
        parameters += (*more, *_ARGUMENTS) if name == "window" else [parameter]
    return declared.replace(parameters=parameters)


def _checked_size(first: int | None, last: int | None, largest: int) -> int:
    if (first is None) == (last is None):
        raise BadInput(
            "The page size is missing: neither `first` nor `last` is set."
            if first is None
            else "Both `first` and `last` are set.",
            hint=f"Pass one of them with a value between 1 and {largest}, such as `first: 50`.",
            field="first",
        )
    name, size = ("first", first) if first is not None else ("last", last)
    hint = f"Pass a value between 1 and {largest} and use the cursors to fetch more pages."
    return require_between(name, size, 1, largest, hint=hint)


@strawberry.type(description="Position of a page in its list.")
class PageInfo:
    @field(
        "True if there are items after this page. A page with long texts may have fewer items than "
        "requested."
    )
    def has_next_page(root: strawberry.Parent[Page[Any]]) -> bool:
        return root.has_next

    @field("True if there are items before this page.")
    def has_previous_page(root: strawberry.Parent[Page[Any]]) -> bool:
        return root.has_previous

    @field("Cursor of the first item of this page. Null if the page is empty.")
    def start_cursor(root: strawberry.Parent[Page[Any]]) -> str | None:
        return root.cursor(0) if root.rows else None

    @field("Cursor of the last item of this page. Null if the page is empty.")
    def end_cursor(root: strawberry.Parent[Page[Any]]) -> str | None:
        return root.cursor(-1) if root.rows else None


class EdgeRow(NamedTuple):
    """An item of a page. Its cursor is made only if it is selected."""

    node: Any
    page: Page[Any]
    position: int


def _cursor(root: strawberry.Parent[EdgeRow]) -> str:
    return root.page.cursor(root.position)


@accepting(EdgeRow)
def _is_edge(value: object, _info: object) -> bool:
    return isinstance(value, EdgeRow)


@strawberry.type(description="An item of a list with its cursor.")
class Edge(Generic[Node]):
    is_type_of = staticmethod(_is_edge)

    cursor: str = cast(  # an annotation, so that it stays before `node` in the schema
        "Any", field("Opaque position of the item. Pass it as `after` or `before`.")(_cursor)
    )
    node: Node = attribute("The item.")


@strawberry.type(description="A page of a list.")
class Connection(Generic[Node]):
    @field("Items of this page with their cursors.")
    def edges(root: strawberry.Parent[Listing]) -> list[Edge[Node]]:
        page = root.page
        edges = map(EdgeRow, page.rows, itertools.repeat(page), itertools.count())
        return cast("list[Edge[Node]]", list(edges))

    @field("Items of this page without cursors.")
    def nodes(root: strawberry.Parent[Listing]) -> list[Node]:
        return cast("list[Node]", root.page.rows)

    @field("Position of this page in the list.")
    def page_info(root: strawberry.Parent[Listing]) -> PageInfo:
        return cast("PageInfo", root.page)

    @field("Number of items in the whole list. Computed only if this field is selected.")
    async def total_count(root: strawberry.Parent[Listing]) -> int:
        return await root.count_all()


@graphql_enum(
    "Sort direction.",
    ASC="Ascending: smallest, oldest or A first.",
    DESC="Descending: largest, newest or Z first.",
)
class OrderDirection(StrEnum):
    ASC = "asc"
    DESC = "desc"

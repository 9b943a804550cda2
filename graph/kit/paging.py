"""Relay connections over keyset pages."""

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from inspect import Parameter, signature
from typing import Annotated, Any, Generic, TypeVar, cast

import strawberry

from db.errors import BadInput
from db.kit.paging import Page, Window
from graph.context import Context
from graph.kit.columns import columns_of_rows
from graph.kit.fields import argument, attribute, field, graphql_enum

Node = TypeVar("Node")

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


@dataclass(frozen=True, slots=True)
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
    async def resolve(
        *source: Any,
        info: strawberry.Info[Context],
        first: int | None = None,
        after: str | None = None,
        last: int | None = None,
        before: str | None = None,
        **named: Any,
    ) -> Listing:
        largest = info.context.services.settings.max_page_size
        size = _checked_size(first, last, largest)
        window = Window(size, first is None, after, before, columns_of_rows(info))
        return await resolver(*source, info=info, window=window, **named)

    declared = signature(resolver)
    parameters: list[Parameter] = []
    for name, parameter in declared.parameters.items():
        parameters += _ARGUMENTS if name == "window" else [parameter]
    resolve.__signature__ = declared.replace(parameters=parameters)  # type: ignore[attr-defined]
    return cast("Resolve", resolve)


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
    if size is None or not 1 <= size <= largest:
        raise BadInput(
            f"`{name}` is not between 1 and {largest}.",
            hint=f"Pass a value between 1 and {largest} and use the cursors to fetch more pages.",
            field=name,
        )
    return size


@strawberry.type(description="Position of a page in its list.")
class PageInfo:
    @field("True if there are items after this page.")
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


@strawberry.type(description="An item of a list with its cursor.")
class Edge(Generic[Node]):
    cursor: str = strawberry.field(
        description="Opaque position of the item. Pass it as `after` or `before`."
    )
    node: Node = attribute("The item.")


@strawberry.type(description="A page of a list.")
class Connection(Generic[Node]):
    @field("Items of this page with their cursors.")
    def edges(root: strawberry.Parent[Listing]) -> list[Edge[Node]]:
        page = root.page
        return [Edge(cursor=page.cursor(at), node=row) for at, row in enumerate(page.rows)]

    @field("Items of this page without cursors.")
    def nodes(root: strawberry.Parent[Listing]) -> list[Node]:
        return list(root.page.rows)

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

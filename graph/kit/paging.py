"""Relay connections over keyset pages."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Generic, TypeVar, cast

import strawberry

from db.errors import BadInput
from db.kit.paging import Page, Window
from graph.context import Context
from graph.kit.fields import argument, attribute, enum_value, field

Node = TypeVar("Node")

First = Annotated[
    int | None,
    strawberry.argument(
        description="Returns the first *n* items, 1 to 1000. Pass either `first` or `last`."
    ),
]
After = Annotated[str | None, argument("Cursor. Only items after it are returned.")]
Last = Annotated[
    int | None,
    strawberry.argument(
        description="Returns the last *n* items, 1 to 1000. Pass either `first` or `last`."
    ),
]
Before = Annotated[str | None, argument("Cursor. Only items before it are returned.")]


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of a list, and a function that counts the whole list if `totalCount` is selected."""

    page: Page[Any]
    count_all: Callable[[], Awaitable[int]]


def window(
    context: Context,
    *,
    first: int | None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
) -> Window:
    """Combines the four paging arguments.

    Raises:
        BadInput: Both or neither of `first` and `last` are set, or the size is out of range.
    """
    largest = context.services.settings.max_page_size
    if (first is None) == (last is None):
        raise BadInput(
            "Both or neither of `first` and `last` are set.",
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
    return Window(size, backward=last is not None, after=after, before=before)


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


@strawberry.enum(description="Sort direction.")
class OrderDirection(Enum):
    ASC = enum_value("asc", "Ascending: smallest, oldest or A first.")
    DESC = enum_value("desc", "Descending: largest, newest or Z first.")

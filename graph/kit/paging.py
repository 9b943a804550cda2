"""Connections as Relay knows them, over keyset pages."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Generic, TypeVar, cast

import strawberry

from db.errors import BadInput
from db.kit.paging import Page, Window
from graph.context import Context
from graph.kit.fields import enum_value, field

Node = TypeVar("Node")

First = Annotated[
    int | None, strawberry.argument(description="So many from the start; this or `last`, 1..1000.")
]
After = Annotated[str | None, strawberry.argument(description="Only what follows this cursor.")]
Last = Annotated[
    int | None, strawberry.argument(description="So many from the end; this or `first`, 1..1000.")
]
Before = Annotated[str | None, strawberry.argument(description="Only what precedes this cursor.")]


@dataclass(frozen=True, slots=True)
class Listing:
    """A page, and how to count the whole list should somebody ask."""

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
    """What the four arguments mean together, or an error that says why nothing."""
    largest = context.services.settings.max_page_size
    if (first is None) == (last is None):
        raise BadInput(
            "A list needs either `first` or `last`.",
            hint=f"Ask for `first: 50`, or any number from 1 to {largest}.",
            field="first",
        )
    name, size = ("first", first) if first is not None else ("last", last)
    if size is None or not 1 <= size <= largest:
        raise BadInput(
            f"`{name}` must be from 1 to {largest}.",
            hint="Ask for less and page with the cursors.",
            field=name,
        )
    return Window(size, backward=last is not None, after=after, before=before)


@strawberry.type(description="Where a page lies in its list.")
class PageInfo:
    """Relay's."""

    @field("Whether more follow this page.")
    def has_next_page(root: strawberry.Parent[Page[Any]]) -> bool:
        return root.has_next

    @field("Whether some precede this page.")
    def has_previous_page(root: strawberry.Parent[Page[Any]]) -> bool:
        return root.has_previous

    @field("The cursor of the first of this page.")
    def start_cursor(root: strawberry.Parent[Page[Any]]) -> str | None:
        return root.cursor(0) if root.rows else None

    @field("The cursor of the last of this page.")
    def end_cursor(root: strawberry.Parent[Page[Any]]) -> str | None:
        return root.cursor(-1) if root.rows else None


@strawberry.type(description="A thing in a list, and its place there.")
class Edge(Generic[Node]):
    """Relay's."""

    cursor: str = strawberry.field(description="Its place; pass it as `after` or `before`.")
    node: Node = strawberry.field(description="The thing itself.")


@strawberry.type(description="One page of a list.")
class Connection(Generic[Node]):
    """Relay's, over a Listing."""

    @field("The things and their cursors.")
    def edges(root: strawberry.Parent[Listing]) -> list[Edge[Node]]:
        page = root.page
        return [Edge(cursor=page.cursor(at), node=row) for at, row in enumerate(page.rows)]

    @field("The things alone.")
    def nodes(root: strawberry.Parent[Listing]) -> list[Node]:
        return list(root.page.rows)

    @field("Where this page lies.")
    def page_info(root: strawberry.Parent[Listing]) -> PageInfo:
        return cast("PageInfo", root.page)

    @field("How many the whole list has; counted only when asked for.")
    async def total_count(root: strawberry.Parent[Listing]) -> int:
        return await root.count_all()


@strawberry.enum(description="Which end of an order comes first.")
class OrderDirection(Enum):
    """Up or down."""

    ASC = enum_value("asc", "Smallest, oldest, A first.")
    DESC = enum_value("desc", "Largest, newest, Z first.")

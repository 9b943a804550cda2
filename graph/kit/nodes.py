"""Finding anything again by its id."""

from typing import Annotated, Any

import strawberry

from db.errors import TooLarge
from graph.auth import SignedIn
from graph.context import Info
from graph.kit.fields import argument, query
from graph.kit.ids import Node, find_nodes


@strawberry.type
class Query:
    """What can be asked."""

    @query("Anything of mine by its id; null when there is none.", who=SignedIn, type=Node | None)
    async def node(
        self, info: Info, id: Annotated[strawberry.ID, argument("An id of any type.")]
    ) -> Any:
        return (await find_nodes(info.context, [id], argument="id"))[0]

    @query(
        "Several by their ids, in that order; null where there is none.",
        who=SignedIn,
        type=list[Node | None],
    )
    async def nodes(
        self, info: Info, ids: Annotated[list[strawberry.ID], argument("Ids of any type.")]
    ) -> list[Any]:
        largest = info.context.services.settings.max_page_size
        if len(ids) > largest:
            raise TooLarge(
                f"{len(ids)} ids are too many at once.",
                hint=f"Ask for at most {largest}.",
                field="ids",
            )
        return await find_nodes(info.context, list(ids), argument="ids")

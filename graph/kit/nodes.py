"""The `node` and `nodes` queries."""

from typing import Annotated, Any

import strawberry

from db.errors import TooLarge
from graph.auth import ANY_TOKEN, SignedIn
from graph.context import Info
from graph.kit.fields import argument, query
from graph.kit.ids import Node, find_nodes


@strawberry.type
class Query:
    @query(
        "Fetches any object visible to the viewer by its global ID. "
        "Returns null if it does not exist, is not visible to the viewer, or is in a database that "
        "failed to answer.",
        who=SignedIn,
        scopes=ANY_TOKEN,  # `find_nodes` checks the scopes of each type
        type=Node | None,
    )
    async def node(
        self, info: Info, id: Annotated[strawberry.ID, argument("ID of an object of any type.")]
    ) -> Any:
        return (await find_nodes(info.context, [id], argument="id"))[0]  # an error is raised

    @query(
        "Fetches several objects by their global IDs, in the order of `ids`. An item is null if "
        "the object does not exist, is not visible to the viewer, or is in a database that failed "
        "to answer.",
        who=SignedIn,
        scopes=ANY_TOKEN,  # `find_nodes` checks the scopes of each type
        type=list[Node | None],
    )
    async def nodes(
        self,
        info: Info,
        ids: Annotated[list[strawberry.ID], argument("IDs of objects of any type, up to 1000.")],
    ) -> list[Any]:
        largest = info.context.services.settings.max_page_size
        if len(ids) > largest:
            raise TooLarge(
                f"`ids` contains {len(ids)} IDs, more than the limit of {largest}.",
                hint=f"Pass at most {largest} IDs per request.",
                field="ids",
            )
        return await find_nodes(info.context, list(ids), argument="ids")

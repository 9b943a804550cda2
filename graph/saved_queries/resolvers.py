"""Queries and mutations of saved queries. `graph.runs` executes them."""

from typing import Annotated, Any
from uuid import UUID

import strawberry

from db.connections import Connections
from db.kit.lists.paging import SortOrder, Window
from db.postgres.sessions import Session
from db.saved_queries import (
    SavedQueries,
    SavedQueryFilter,
    SavedQueryImport,
    SavedQueryRow,
    format_queries,
    import_queries,
    size_of,
)
from graph.auth import SignedIn
from graph.context import Context, Info
from graph.kit.fields import argument, mutation, provided_fields, query
from graph.kit.ids import parse_id
from graph.kit.paging import Connection, Listing, OrderDirection, paged
from graph.kit.scopes import WORKBENCH
from graph.saved_queries.inputs import (
    DeleteSavedQueryInput,
    DeleteSavedQueryPayload,
    ImportSavedQueriesInput,
    ImportSavedQueriesPayload,
    SavedQueryOrder,
    SaveQueryInput,
    SaveQueryPayload,
    to_parameter,
)
from graph.saved_queries.types import SavedQuery, SavedQueryById, SavedQueryFolder

SCOPES = WORKBENCH


@strawberry.type
class Query:
    @query(
        "Fetches a saved query of the viewer by its ID. Returns null if it does not exist.",
        who=SignedIn,
        type=SavedQuery | None,
    )
    async def saved_query(
        self, info: Info, id: Annotated[strawberry.ID, argument("ID of the saved query.")]
    ) -> SavedQueryRow | None:
        return await SavedQueryById.of(info.context).load(parse_id("query", id))

    @query(
        "Lists the viewer's saved queries, by name unless `orderBy` is set.",
        who=SignedIn,
        type=Connection[SavedQuery],
    )
    @paged
    async def saved_queries(
        self,
        info: Info,
        window: Window,
        folder: Annotated[
            str | None,
            argument(
                "Path of a folder. Only saved queries directly in it are returned. An empty text "
                "returns those in no folder. Defaults to all."
            ),
        ] = None,
        search: Annotated[
            str | None,
            argument(
                "Text that must occur in `name` or `text`, ignoring case. 1 to 200 characters."
            ),
        ] = None,
        order_by: Annotated[
            SavedQueryOrder | None, argument("Sort order. Defaults to `name`.")
        ] = None,
    ) -> Listing:
        context = info.context
        filters, order = SavedQueryFilter(folder, search), _order(order_by)
        read = context.read if search is None else context.search
        page = await read(SavedQueries, lambda saved: saved.page(window, filters, order))
        return Listing(page, lambda: read(SavedQueries, lambda saved: saved.count(filters)))

    @query(
        "Lists the folders of the viewer's saved queries on one level, by path. Together with "
        "`savedQueries(folder:)` it shows what a folder contains.",
        who=SignedIn,
        type=Connection[SavedQueryFolder],
    )
    @paged
    async def saved_query_folders(
        self,
        info: Info,
        window: Window,
        under: Annotated[
            str | None,
            argument(
                "Path of a folder. Only folders directly in it are returned. Omit it for "
                "those that are in no other."
            ),
        ] = None,
    ) -> Listing:
        context = info.context
        page = await context.search(SavedQueries, lambda saved: saved.folders(window, under))
        return Listing(
            page,
            lambda: context.search(SavedQueries, lambda saved: saved.count_folders(under)),
        )

    @query(
        "The viewer's saved queries as the contents of a `.sql` file, which `importSavedQueries` "
        "reads without loss. It has no connections. Fails with `TOO_LARGE` above 8 MiB.",
        who=SignedIn,
    )
    async def export_saved_queries(
        self,
        info: Info,
        folder: Annotated[
            str | None,
            argument("Path of a folder, to export it and its subfolders only. Defaults to all."),
        ] = None,
    ) -> str:
        found = await info.context.search(SavedQueries, lambda saved: saved.all_under(folder))
        return format_queries(found)


@strawberry.type
class Mutation:
    @mutation(
        "Creates a saved query, or updates it if `id` is given. What it was before an update is in "
        "its `versions`. Saving the same values again changes nothing. Fails with `CONFLICT` if "
        "the folder has another one of this name.",
        who=SignedIn,
    )
    async def save_query(
        self, info: Info, input: Annotated[SaveQueryInput, argument("Fields of the saved query.")]
    ) -> SaveQueryPayload:
        fields = provided_fields(input)
        key = fields.pop("idempotency_key", None)
        version = fields.pop("expected_version", None)
        query_id = fields.pop("id", None)
        query_id = None if query_id is None else parse_id("query", query_id)
        if fields.get("connection_id") is not None:
            fields["connection_id"] = parse_id(
                "conn", fields["connection_id"], argument="connectionId"
            )
        if fields.get("parameters") is not None:
            fields["parameters"] = list(map(to_parameter, fields["parameters"]))
        context = info.context

        async def save(saved: SavedQueries[Session]) -> SavedQueryRow:
            return await _save(context, saved, query_id, version, fields)

        row = await context.once(
            SavedQueries,
            save,
            key=key,
            request=("saveQuery", query_id, version, fields),
            answer=SavedQueryRow,
            audited=True,  # a transaction: a change is several statements
        )
        return SaveQueryPayload(saved_query=row)

    @mutation(
        "Deletes a saved query and its versions. Its query runs stay.",
        who=SignedIn,
    )
    async def delete_saved_query(
        self,
        info: Info,
        input: Annotated[DeleteSavedQueryInput, argument("Saved query to delete.")],
    ) -> DeleteSavedQueryPayload:
        query_id = parse_id("query", input.id)
        version = provided_fields(input).get("expected_version")
        await info.context.write(
            SavedQueries, lambda saved: saved.remove(query_id, expected_version=version)
        )
        return DeleteSavedQueryPayload(deleted_saved_query_id=input.id)

    @mutation(
        "Imports saved queries from the contents of a `.sql` file. A query with the folder and "
        "name of an existing one replaces its text and parameters; the connection stays. Importing "
        "the same file again changes nothing.",
        who=SignedIn,
        type=ImportSavedQueriesPayload,
    )
    async def import_saved_queries(
        self, info: Info, input: Annotated[ImportSavedQueriesInput, argument("File to import.")]
    ) -> SavedQueryImport:
        dry_run, quotas = input.dry_run, info.context.services.quotas

        async def work(saved: SavedQueries[Session]) -> SavedQueryImport:
            report = await import_queries(saved, input.sql, dry_run=dry_run)
            if not dry_run and report.created:
                await quotas.saved_queries.check_inserted(saved)
            if not dry_run and report.created + report.updated:
                await quotas.saved_query_bytes.check_inserted(saved)
            return report

        return await info.context.transact(SavedQueries, work)


async def _save(
    context: Context,
    saved: SavedQueries[Session],
    query_id: UUID | None,
    version: int | None,
    fields: dict[str, Any],
) -> SavedQueryRow:
    quotas, connection_id = context.services.quotas, fields.get("connection_id")
    if connection_id is not None:
        connections = Connections(saved.session, saved.owner)
        await connections.require(connection_id, field="connectionId")
    if query_id is None:
        await quotas.saved_queries.check(saved)
    await quotas.saved_query_bytes.check(saved, more=size_of(fields))
    if query_id is None:
        return await saved.create(**fields)
    return await saved.change(query_id, expected_version=version, **fields)


def _order(order_by: SavedQueryOrder | None) -> SortOrder:
    if order_by is None:
        return SortOrder("sort_name", descending=False)
    return SortOrder(order_by.field.value, descending=order_by.direction is OrderDirection.DESC)

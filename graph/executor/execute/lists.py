"""Completion of lists."""

from collections.abc import AsyncIterable, Callable, Coroutine, Iterable
from types import CoroutineType
from typing import Any, NamedTuple

from graphql import GraphQLError, GraphQLOutputType
from graphql.execution.async_iterables import aclosing
from graphql.pyutils import Undefined, is_iterable
from graphql.pyutils.is_awaitable import is_async_iterable

from graph.executor.execute.batched import BatchedRows, complete_rows
from graph.executor.execute.completion import (
    Build,
    Complete,
    Fail,
    Null,
    await_pending,
    error_handler,
    guarded,
    pending_indexes,
    with_errors_handled,
)
from graph.executor.execute.run import Field, Path, ResultTooLarge, Run


class Rows(NamedTuple):
    """Items of class ``row`` are passed to ``build`` without a type check."""

    row: type
    build: Build
    batched: BatchedRows | None
    """For lists of several rows, if a field has a resolver for all of them."""


def list_of(
    complete_item: Complete,
    item_type: GraphQLOutputType,
    field: Field,
    null: Null,
    rows: Rows | None,
) -> Complete:
    fail = error_handler(item_type, field.nodes)
    complete_value = with_errors_handled(complete_item, fail)
    complete_items = items_of(complete_value, fail, rows)
    complete_async = async_list_of(complete_value, fail)
    batched = rows and rows.batched

    def complete_list(values: Any, path: Path, run: Run) -> Any:
        if values is None or values is Undefined:
            return null()
        if is_async_iterable(values):
            return run.hold(complete_async(values, path, run))
        if not is_iterable(values):
            raise GraphQLError(f"Expected Iterable, but did not find one for field '{field}'.")
        if run.fields > run.max_fields:
            raise ResultTooLarge(run.max_fields, "fields")
        if batched is not None and (calls := batched.start(values, path, run)):
            return complete_rows(batched, values, calls, fail, path, run)
        return complete_items(values, path, run)

    return complete_list


def items_of(complete_value: Complete, fail: Fail, rows: Rows | None) -> Complete:
    guard = guarded(fail)
    row, build = (None, complete_value) if rows is None else (rows.row, rows.build)

    def complete_items(values: Iterable[Any], path: Path, run: Run) -> Any:
        items: list[Any] = []
        cls = row  # rows of one list are mostly of one class, which may be a subclass
        for index, value in enumerate(values):
            item_path = (path, index, None)
            try:
                if value.__class__ is cls or (row is not None and isinstance(value, row)):
                    cls = value.__class__
                    item = build(value, item_path, run)
                    if item.__class__ is CoroutineType:
                        item = run.hold(guard(item, item_path, run))
                else:
                    item = complete_value(value, item_path, run)
            except Exception as error:  # noqa: BLE001 - as in settle
                item = fail(error, item_path, run)
            items.append(item)
        pending = pending_indexes(items)
        return run.hold(await_pending(items, pending)) if pending else items

    return complete_items


def async_list_of(
    complete_value: Complete, fail: Fail
) -> Callable[..., Coroutine[Any, Any, list[Any]]]:
    async def complete_async(values: AsyncIterable[Any], path: Path, run: Run) -> list[Any]:
        items: list[Any] = []
        async with aclosing(values) as source:
            async for value in source:
                item_path = (path, len(items), None)
                try:
                    items.append(complete_value(value, item_path, run))
                except Exception as error:  # noqa: BLE001 - as in settle
                    items.append(fail(error, item_path, run))
        await await_pending(items, pending_indexes(items))
        return items

    return complete_async

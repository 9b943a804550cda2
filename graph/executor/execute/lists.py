"""Completion of lists."""

from collections.abc import AsyncIterable, Callable, Coroutine, Iterable
from typing import Any, NamedTuple

from graphql import GraphQLError
from graphql.execution.async_iterables import aclosing
from graphql.pyutils import Undefined, is_iterable
from graphql.pyutils.is_awaitable import is_async_iterable

from graph.executor.execute.batched import BatchedRows, complete_rows
from graph.executor.execute.completion import (
    Complete,
    Fail,
    Null,
    await_pending,
    pending_indexes,
)
from graph.executor.execute.run import Field, Path, ResultTooLarge, Run
from graph.executor.hints import holds_records


class Items(NamedTuple):
    """How to complete the items of a list."""

    complete_value: Complete
    """Completes one item."""
    complete_all: Complete
    fail: Fail
    batched: BatchedRows | None = None
    """For several rows, if a field has a resolver for all of them."""
    complete_records: Callable[[Any, Run], list[Any] | None] | None = None
    """For lists that hold records; returns None if their rows have to be completed."""


def list_of(items: Items, field: Field, null: Null) -> Complete:
    complete_value, complete_all, fail, batched, complete_records = items
    complete_async = async_list_of(complete_value, fail)

    def complete_list(values: Any, path: Path, run: Run) -> Any:
        has_records = values.__class__ is not list and holds_records(values.__class__)
        if values.__class__ is not list and not has_records:  # the checks take 2 us
            if values is None or values is Undefined:
                return null()
            if is_async_iterable(values):
                return run.hold(complete_async(values, path, run))
            if not is_iterable(values):
                raise GraphQLError(f"Expected Iterable, but did not find one for field '{field}'.")
        if run.fields > run.max_fields:
            raise ResultTooLarge(run.max_fields, "fields")
        if has_records:
            if complete_records and (built := complete_records(values, run)) is not None:
                return built
            values = list(values)
        if batched is not None and (calls := batched.start(values, path, run)):
            return complete_rows(batched, values, calls, fail, path, run)
        return complete_all(values, path, run)

    return complete_list


def each_by(complete_value: Complete, fail: Fail) -> Complete:
    """A function that completes the items of a list one by one."""

    def complete_all(values: Iterable[Any], path: Path, run: Run) -> Any:
        items: list[Any] = []
        for index, value in enumerate(values):
            item_path = (path, index, None)
            try:
                item = complete_value(value, item_path, run)
            except Exception as error:  # noqa: BLE001 - as in settle
                item = fail(error, item_path, run)
            items.append(item)
        pending = pending_indexes(items)
        return run.hold(await_pending(items, pending)) if pending else items

    return complete_all


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

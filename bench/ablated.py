"""`howdah` without one part that was built for speed: `python -m bench.ablated PART serve`.

Replaces functions of the product before it starts, so that the product itself has no switches.
"""

import gc
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

EVERYTHING = "all of these"


def keep_no_plans() -> None:
    """Each request parses, validates and compiles its document."""
    from graph.operations import Plans

    replace(Plans, find=lambda *_: None)


def execute_with_graphql_core() -> None:
    from graph.executor.document import select_operation
    from graph.executor.fallback import CoreProgram
    from graph.operations import plans

    def make_program(  # in place of compile_plan
        schema: Any,
        document: Any,
        name: str | None,
        *,
        hide_suggestions: bool,
        before_mutation_field: Callable[[Any], object],
    ) -> CoreProgram:
        operation = select_operation(document, name)
        is_mutation = operation.definition.operation.value == "mutation"
        before_step = before_mutation_field if is_mutation else None
        return CoreProgram(schema, operation, hide_suggestions, before_step)

    replace(plans, compile_plan=make_program)


def coerce_with_strawberry() -> None:
    """graphql-core coerces all variables, and Strawberry converts all arguments."""
    from graph.executor.compile import strawberry_adapter
    from graph.executor.inputs.coercers import SlowPath
    from graph.executor.inputs.variables import Variables

    def refuse(*_: object) -> None:
        raise SlowPath

    replace(Variables, _coerce_fast=refuse)
    replace(strawberry_adapter, _fast_arguments=lambda *_: None)


def send_through_sqlalchemy() -> None:
    """SQLAlchemy's engine and pool carry each statement; it stays compiled once."""
    from sqlalchemy.ext.asyncio import create_async_engine

    from db.postgres.engine import POOL_SIZE, Database

    url = os.environ["HOWDAH_DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://")
    engine = create_async_engine(
        url, pool_size=POOL_SIZE, max_overflow=0, isolation_level="AUTOCOMMIT"
    )

    async def send(
        _: Database, _source: object, _statement: object, sql: str, arguments: Sequence[Any]
    ) -> tuple[Sequence[Any], float, bool]:
        began = time.perf_counter()
        async with engine.connect() as connection:
            result = await connection.exec_driver_sql(sql, tuple(arguments))
            rows = result.all() if result.returns_rows else []
        return rows, time.perf_counter() - began, False

    replace(Database, _send=send)


def send_alone() -> None:
    from db.postgres.gathering.calls import Rows
    from db.postgres.gathering.gatherer import Gatherer
    from db.postgres.statements import Statement

    async def fetch(self: Any, statement: Statement[Any], arguments: Sequence[Any]) -> Rows:
        rows: Rows = await self._send_alone(self._queue_of(statement), arguments)
        return rows

    replace(Gatherer, fetch=fetch)


def read_all_columns() -> None:
    from graph.kit import paging

    replace(paging, columns_of_rows=lambda _: None)


def build_lists_from_rows() -> None:
    from graph.executor.compile.codegen import RecordsBuilder

    replace(RecordsBuilder, __call__=lambda *_: None)


def resolve_lists_of_each_row() -> None:
    from graph.executor.compile import strawberry_adapter

    replace(strawberry_adapter, many_form_of=lambda _: None)


def collect_garbage_as_usual() -> None:
    from graph.server import uvicorn_server

    replace(uvicorn_server, _settle_memory=gc.enable)


PARTS: Mapping[str, Callable[[], None]] = {
    "kept plans": keep_no_plans,
    "compiled executor": execute_with_graphql_core,
    "short coercion": coerce_with_strawberry,
    "leased statements": send_through_sqlalchemy,
    "gathering": send_alone,
    "selected columns": read_all_columns,
    "lists from records": build_lists_from_rows,
    "lists of lists": resolve_lists_of_each_row,
    "frozen memory": collect_garbage_as_usual,
}


def replace(target: Any, **functions: Any) -> None:
    """Fails if there is nothing to replace: a renamed part must not be measured as present."""
    for name, function in functions.items():
        if not hasattr(target, name):
            raise SystemExit(f"{target.__name__} has no {name}: adapt bench.ablated")
        setattr(target, name, function)


def ablate(part: str) -> None:
    for switch_off in PARTS.values() if part == EVERYTHING else [PARTS[part]]:
        switch_off()


if __name__ == "__main__":
    ablate(sys.argv.pop(1))
    from graph.commands.main import main

    main()

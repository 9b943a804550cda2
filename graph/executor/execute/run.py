"""One run of a compiled operation: its state, its errors, and the info that resolvers receive."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar, cast

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLField,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    OperationDefinitionNode,
)
from graphql.error import located_error
from graphql.execution.collect_fields import FieldDetailsList
from graphql.execution.values import VariableValues
from graphql.pyutils import Path as CorePath
from graphql.pyutils import is_awaitable
from graphql.type import GraphQLResolveInfoHelpers

from graph.executor.document import Operation

FIELD_CHARACTERS = 100
"""The part of a long text that counts as a field."""
MAX_ERRORS = 10_000
"""Of one run. 250,000 took 40 seconds, in which other operations waited, and a gigabyte."""
MAX_AWAITED = 25_000
"""Of one run. Each field is a task, and all are started at once: 250,000 stopped the event loop for
7 seconds."""

A = TypeVar("A", bound=Awaitable[Any])
T = TypeVar("T")

# Innermost step first: (path of the parent or None, response key or list index, type's name).
# Plain tuples, because one is made for every object of a list whether it is needed or not.
Path: TypeAlias = tuple[Any, str | int, str | None]


def path_as_list(path: Path) -> list[str | int]:
    """The path as the response shows it: outermost key first."""
    keys: list[str | int] = []
    step: Path | None = path
    while step is not None:
        step, key, _ = step
        keys.append(key)
    keys.reverse()
    return keys


def locate(error: Exception, nodes: Sequence[FieldNode], path: Path) -> GraphQLError:
    """Add the position in the document and in the response to an error."""
    return located_error(error, nodes, path_as_list(path))


class ErrorLog:
    """The errors of one run. Errors below a position that is already null are dropped."""

    __slots__ = ("_is_stopped", "_nulled", "errors")

    def __init__(self) -> None:
        self.errors: list[GraphQLError] = []
        self._is_stopped = False
        self._nulled: set[Path | None] | None = None  # created on the first error

    @property
    def is_full(self) -> bool:
        return len(self.errors) >= MAX_ERRORS

    def stop(self) -> "ResultTooLarge | None":
        """What one more error becomes, which stops the run; None for those after it."""
        if self._is_stopped:
            return None
        self._is_stopped = True
        return ResultTooLarge(MAX_ERRORS, "errors")

    def add(self, error: GraphQLError, path: Path | None) -> None:
        """Report an error that makes this position null; ``None`` is the whole response."""
        if self._nulled is None:
            self._nulled = set()
        if not _is_within(path, self._nulled):
            self._nulled.add(path)
            self.errors.append(error)


def _is_within(path: Path | None, nulled: set[Path | None]) -> bool:
    while path is not None:
        if path in nulled:
            return True
        path = path[0]
    return None in nulled


class ResultTooLarge(Exception):
    """Stops the whole run, unlike other errors of a field."""

    def __init__(self, limit: float, items: str) -> None:
        super().__init__(f"more than {limit:,} {items}")
        self.limit = limit
        self.items = items
        self.path: list[str | int] = []
        """The position that exceeded the limit; set when the error passes the executor."""


class Run:
    """The state of one run of a program."""

    __slots__ = (
        "_held",
        "arguments",
        "awaited",
        "context",
        "fields",
        "log",
        "max_fields",
        "root",
        "variables",
    )

    def __init__(
        self,
        *,
        context: object,
        root: object,
        variables: VariableValues,
        max_fields: float = math.inf,
    ) -> None:
        self.context = context
        self.root = root
        self.variables = variables
        self.max_fields = max_fields
        self.fields = 0  # of the objects that were built; generated code adds to it
        self.awaited = 0  # resolvers that returned an awaitable
        self.log = ErrorLog()
        self.arguments: dict[object, dict[str, Any]] = {}  # immutable arguments by field
        self._held: list[Awaitable[Any]] = []

    def counted(self, value: T, text: str | None) -> T:
        """Count the long text of a value, which aliases can repeat: all go into the response."""
        if text is not None:
            self.fields += len(text) // FIELD_CHARACTERS
            if self.fields > self.max_fields:
                raise ResultTooLarge(self.max_fields, "fields")
        return value

    def await_field(self, resolving: A) -> A:
        """Register what a resolver returned.

        Raises:
            ResultTooLarge: The run awaits too many.
        """
        self.awaited += 1
        if self.awaited > MAX_AWAITED:
            abandon([resolving])
            raise ResultTooLarge(MAX_AWAITED, "fields that need a lookup of their own")
        return self.hold(resolving)

    def hold(self, awaitable: A) -> A:
        """Register an awaitable, so that `abandon` can dispose of it after an error elsewhere."""
        self._held.append(awaitable)
        return awaitable

    def abandon(self) -> None:
        """Dispose of awaitables that were never awaited, which avoids warnings."""
        abandon(self._held)
        self._held.clear()


def abandon(values: Sequence[Any]) -> None:
    """Close coroutines, and mark the errors of futures as retrieved."""
    for value in values:
        if isinstance(value, Coroutine):
            value.close()
        elif isinstance(value, asyncio.Future):
            value.add_done_callback(lambda future: future.cancelled() or future.exception())


async def gather(awaitables: Sequence[Awaitable[Any]]) -> list[Any]:
    """Await concurrently. The first error or a cancellation cancels the others and awaits them."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


# The helpers that graphql-core's default type resolver calls.
ASYNC_HELPERS = GraphQLResolveInfoHelpers(gather=gather, track=abandon)


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One response key of one object type, independent of any run."""

    key: str
    definition: GraphQLField
    parent: GraphQLObjectType
    details: FieldDetailsList
    nodes: list[FieldNode]
    schema: GraphQLSchema
    operation: Operation
    kept: dict[Callable[["Field"], Any], Any] = field(default_factory=dict)
    """What resolvers have computed from this field (`ResolveInfo.once_per_plan`)."""

    @property
    def name(self) -> str:
        return self.nodes[0].name.value

    def __str__(self) -> str:
        return f"{self.parent}.{self.name}"


class ResolveInfo:
    """Replaces graphql-core's ``GraphQLResolveInfo``. Its attributes are computed on access."""

    __slots__ = ("_field", "_path", "_run")

    abort_signal = None
    async_helpers = ASYNC_HELPERS
    operation_extensions = None  # read by Strawberry; no transport sets it

    def __init__(self, field: Field, path: Path, run: Run) -> None:
        self._field = field
        self._path = path
        self._run = run

    def is_awaitable(self, value: Any) -> bool:
        """Also registers awaitables with the run: graphql-core's type resolver may abandon them."""
        found = is_awaitable(value)
        if found:
            self._run.hold(value)
        return found

    def once_per_plan(self, compute: Callable[[Field], T]) -> T:
        """`compute` of this field. The result is kept with the plan, for all its runs."""
        kept = self._field.kept
        if compute not in kept:
            kept[compute] = compute(self._field)
        return cast("T", kept[compute])

    @property
    def field_name(self) -> str:
        return self._field.name

    @property
    def field_nodes(self) -> list[FieldNode]:
        return self._field.nodes

    @property
    def return_type(self) -> GraphQLOutputType:
        return self._field.definition.type

    @property
    def parent_type(self) -> GraphQLObjectType:
        return self._field.parent

    @property
    def path(self) -> CorePath:
        path = self._path
        while (
            isinstance(path[1], int) and path[0] is not None
        ):  # list items share the info of their field
            path = path[0]
        return _core_path(path)

    @property
    def schema(self) -> GraphQLSchema:
        return self._field.schema

    @property
    def fragments(self) -> dict[str, FragmentDefinitionNode]:
        return self._field.operation.fragments

    @property
    def root_value(self) -> Any:
        return self._run.root

    @property
    def operation(self) -> OperationDefinitionNode:
        return self._field.operation.definition

    @property
    def variable_values(self) -> dict[str, Any]:
        return self._run.variables.coerced

    @property
    def context(self) -> Any:
        return self._run.context


def _core_path(path: Path) -> CorePath:
    parent, key, typename = path
    return CorePath(None if parent is None else _core_path(parent), key, typename)

"""Plans: operations that are compiled once and executed by each request."""

import math
from collections import OrderedDict
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from types import CoroutineType
from typing import Any, NamedTuple, TypeAlias

from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLObjectType,
    GraphQLSchema,
    OperationType,
)
from graphql.execution import default_field_resolver
from graphql.execution.async_iterables import aclosing
from graphql.execution.values import VariableValues, get_argument_values
from graphql.pyutils import inspect, is_awaitable
from graphql.pyutils.is_awaitable import is_async_iterable

from graph.executor.compile.compiler import Compiler
from graph.executor.document import select_operation
from graph.executor.execute.completion import Build
from graph.executor.execute.run import Field, Path, ResolveInfo, Run, locate
from graph.executor.fallback import CoreProgram
from graph.executor.inputs.variables import Variables

# Compiled combinations of @skip and @include per program. Clients use few; the limit bounds the
# memory that an attacker can allocate.
_KEPT_VARIANTS = 8


class Variant(NamedTuple):
    """An operation compiled for one combination of its conditions."""

    steps: Sequence[Build]
    source: Field | None  # the root field of a subscription


class CompiledProgram:
    """Runs compiled functions, a variant of them per combination of @skip and @include."""

    counts_fields = True

    def __init__(self, core: CoreProgram, root_type: GraphQLObjectType) -> None:
        self.kind = core.kind
        self._core = core  # fallback if compilation fails
        self._root_type = root_type
        self._conditions = core.operation.condition_variables()
        self._variants: OrderedDict[tuple[Any, ...], Variant] = OrderedDict()
        self._variables = Variables(
            core.schema, core.operation, hide_suggestions=core.hide_suggestions
        )

    def execute(
        self,
        *,
        context: object,
        variables: Mapping[str, Any] | None,
        root: object = None,
        max_fields: float = math.inf,
    ) -> Awaitable[ExecutionResult]:
        """Run a query or a mutation. Field errors are in the result, never raised.

        Raises:
            TooManyInvalidValues: the variables are invalid and too many to describe.
            ResultTooLarge: a list begins after the objects before it had more than `max_fields`
                fields together.
        """
        values = self._variables.coerce(variables)
        if isinstance(values, list):
            return _awaitable(ExecutionResult(None, errors=values))
        try:
            steps = self._variant(values).steps
        except (GraphQLError, RecursionError):  # graphql-core reports it with its location
            return self._core.execute(context=context, variables=variables, root=root)
        run = Run(context=context, root=root, variables=values, max_fields=max_fields)
        return run_steps(steps, run, self._core.before_step)

    async def subscribe(
        self, *, context: object, variables: Mapping[str, Any] | None, root: object = None
    ) -> AsyncIterator[ExecutionResult] | ExecutionResult:
        """Open a subscription: an iterator of results, or one result with the errors.

        Raises:
            TooManyInvalidValues: the variables are invalid and too many to describe.
        """
        values = self._variables.coerce(variables)
        if isinstance(values, list):
            return ExecutionResult(None, errors=values)
        try:
            steps, source = self._variant(values)
        except (GraphQLError, RecursionError):  # as in execute
            source = None
        if source is None:
            return await self._core.subscribe(context=context, variables=variables, root=root)
        try:
            run = Run(context=context, root=root, variables=values)
            events = await _open_events(source, run, hide_suggestions=self._core.hide_suggestions)
        except GraphQLError as error:
            return ExecutionResult(None, errors=[error])
        return _results(events, steps, context, values)

    def _variant(self, values: VariableValues) -> Variant:
        choice: tuple[Any, ...] = ()
        if self._conditions:
            choice = tuple(values.coerced.get(name) for name in self._conditions)
        variant = self._variants.get(choice)
        if variant is None:
            variant = self._variants[choice] = self._compile(values)
            if len(self._variants) > _KEPT_VARIANTS:
                self._variants.popitem(last=False)
        elif len(self._variants) > 1:
            self._variants.move_to_end(choice)
        return variant

    def _compile(self, values: VariableValues) -> Variant:
        schema, operation, hide_suggestions, _ = self._core
        names = self._conditions
        conditions = VariableValues(  # the plan must not keep other values of the request
            {name: values.sources[name] for name in names if name in values.sources},
            {name: values.coerced[name] for name in names if name in values.coerced},
        )
        compiler = Compiler(schema, operation, conditions, hide_suggestions=hide_suggestions)
        steps = compiler.steps(self._root_type, serial=self.kind is OperationType.MUTATION)
        is_subscription = self.kind is OperationType.SUBSCRIPTION
        return Variant(steps, compiler.first_field(self._root_type) if is_subscription else None)


Plan: TypeAlias = CompiledProgram | CoreProgram
"""One operation of a validated document, ready to run any number of times at once."""


def compile_plan(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation_name: str | None,
    *,
    hide_suggestions: bool = False,
    before_mutation_field: Callable[[Any], object] | None = None,
) -> Plan:
    """Compile one operation of a validated document.

    `before_mutation_field` is called with the context before each root field of a mutation.

    Raises:
        GraphQLError: the document has no such operation, or the name is missing and there are
            several.
    """
    operation = select_operation(document, operation_name)
    kind = operation.definition.operation
    before_step = before_mutation_field if kind is OperationType.MUTATION else None
    core = CoreProgram(schema, operation, hide_suggestions, before_step)
    root_type = schema.get_root_type(kind)
    if root_type is None or not operation.is_compilable():
        return core
    return CompiledProgram(core, root_type)


async def _awaitable(result: ExecutionResult) -> ExecutionResult:
    return result


async def run_steps(
    steps: Sequence[Build], run: Run, before_step: Callable[[Any], object] | None = None
) -> ExecutionResult:
    """Run the steps in sequence and merge their fields to the response data."""
    data: dict[str, Any] = {}
    try:
        for step in steps:
            if before_step is not None:
                before_step(run.context)
            built = step(run.root, None, run)
            data |= await built if built.__class__ is CoroutineType else built
    except GraphQLError as error:
        run.log.add(error, None)
        run.abandon()
        return ExecutionResult(None, run.log.errors)
    except BaseException:
        run.abandon()
        raise
    if run.log.errors:
        run.abandon()
    return ExecutionResult(data, run.log.errors or None)


async def _results(
    events: AsyncIterable[Any],
    steps: Sequence[Build],
    context: object,
    variables: VariableValues,
) -> AsyncIterator[ExecutionResult]:
    async with aclosing(events) as source:
        async for event in source:
            yield await run_steps(steps, Run(context=context, root=event, variables=variables))


async def _open_events(field: Field, run: Run, *, hide_suggestions: bool) -> AsyncIterable[Any]:
    """Call the subscribe resolver of a subscription's field.

    Raises:
        GraphQLError: any failure, with its location.
    """
    path = (None, field.key, field.parent.name)
    try:
        return await _subscribe(field, path, run, hide_suggestions=hide_suggestions)
    except Exception as error:
        raise locate(error, field.nodes, path) from error


async def _subscribe(
    field: Field, path: Path, run: Run, *, hide_suggestions: bool
) -> AsyncIterable[Any]:
    definition = field.definition
    arguments = get_argument_values(
        definition, field.nodes[0], run.variables, hide_suggestions=hide_suggestions
    )
    subscribe: Callable[..., Any] = definition.subscribe or default_field_resolver
    events = subscribe(run.root, ResolveInfo(field, path, run), **arguments)
    if is_awaitable(events):
        events = await events
    if isinstance(events, Exception):
        raise events
    if not is_async_iterable(events):
        raise GraphQLError(
            f"Subscription field must return AsyncIterable. Received: {inspect(events)}."
        )
    return events

"""Programs: compiled operations, with a variant per combination of conditions."""

from collections import OrderedDict
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from types import CoroutineType
from typing import Any, NamedTuple

from graphql import ExecutionResult, GraphQLError, GraphQLObjectType, OperationType
from graphql.execution.async_iterables import aclosing
from graphql.execution.values import VariableValues

from graph.executor.compile.compiler import Compiler
from graph.executor.execute.completion import Build
from graph.executor.execute.events import EventSource
from graph.executor.execute.run import Run
from graph.executor.fallback import CoreProgram
from graph.executor.inputs.variables import Variables

# Compiled combinations of @skip and @include per program. Clients use few; the limit bounds the
# memory that an attacker can allocate.
_KEPT_VARIANTS = 8


class Variant(NamedTuple):
    """An operation compiled for one combination of its conditions."""

    steps: Sequence[Build]
    source: EventSource | None  # set for subscriptions


class CompiledProgram:
    """Runs an operation through functions compiled for it."""

    def __init__(self, core: CoreProgram, root_type: GraphQLObjectType) -> None:
        self.kind = core.kind
        self._core = core  # fallback if compilation fails
        self._root_type = root_type
        self._conditions = core.operation.condition_variables()
        self._variants: OrderedDict[tuple[Any, ...], Variant] = OrderedDict()
        self._variables = Variables(
            core.schema,
            core.operation.definition.variable_definitions or (),
            hide_suggestions=core.hide_suggestions,
        )

    async def execute(
        self, *, context: object, variables: Mapping[str, Any] | None, root: object = None
    ) -> ExecutionResult:
        values = self._variables.coerce(variables)
        if isinstance(values, list):
            return ExecutionResult(None, errors=values)
        try:
            steps = self._variant(values).steps
        except (GraphQLError, RecursionError):  # graphql-core reports it with its location
            return await self._core.execute(context=context, variables=variables, root=root)
        run = Run(context=context, root=root, variables=values)
        return await run_steps(steps, run, self._core.before_step)

    async def subscribe(
        self, *, context: object, variables: Mapping[str, Any] | None, root: object = None
    ) -> AsyncIterator[ExecutionResult] | ExecutionResult:
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
            events = await source.open(Run(context=context, root=root, variables=values))
        except GraphQLError as error:
            return ExecutionResult(None, errors=[error])
        return _results(events, steps, context, values)

    def _variant(self, values: VariableValues) -> Variant:
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
        if self.kind is not OperationType.SUBSCRIPTION:
            return Variant(steps, None)
        field = compiler.first_field(self._root_type)
        source = EventSource(field, hide_suggestions=hide_suggestions) if field else None
        return Variant(steps, source)


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

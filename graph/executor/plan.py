"""Plans: operations that are compiled once and executed by each request."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
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
from graph.executor.inputs.variables import InvalidVariable, Variables

# Compiled combinations of @skip and @include per program. Clients use few; the limit bounds the
# memory that an attacker can allocate.
_KEPT_VARIANTS = 8


Choice: TypeAlias = tuple[bool | None, ...]
"""The values of the variables in conditions."""


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
        self._conditions = core.operation.conditions()
        self._variants: OrderedDict[Choice, Variant | None] = OrderedDict()
        self._variables = Variables(
            core.schema, core.operation, hide_suggestions=core.hide_suggestions
        )

    @property
    def max_variants(self) -> int:
        """The most variants that it keeps, which the cache of plans counts."""
        return min(1 << len(self._conditions), _KEPT_VARIANTS)

    def is_compiled_for(self, variables: Mapping[str, Any] | None) -> bool:
        """Whether a run with these variables compiles nothing, or only types that first occur."""
        choice = self._choice(variables) if self._conditions else ()
        return choice in self._variants or None in choice

    async def compile_for(
        self, variables: Mapping[str, Any] | None, thread: Executor | None
    ) -> None:
        """Compile what a run with these variables needs; in a thread, if there is one."""
        if self.is_compiled_for(variables):
            return
        choice = self._choice(variables)
        if thread is None:
            variant = self._compile(choice)
        else:
            loop = asyncio.get_running_loop()
            variant = await loop.run_in_executor(thread, self._compile, choice)
        self._keep(choice, variant)

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
        values = self._coerce(variables)
        if isinstance(values, list):
            return _awaitable(ExecutionResult(None, errors=values))
        variant = self._variant(variables)
        if variant is None:  # graphql-core reports why, with the location
            return self._core.execute(context=context, variables=variables, root=root)
        run = Run(context=context, root=root, variables=values, max_fields=max_fields)
        return run_steps(variant.steps, run, self._core.before_step)

    async def subscribe(
        self,
        *,
        context: object,
        variables: Mapping[str, Any] | None,
        root: object = None,
        max_fields: float = math.inf,
    ) -> AsyncIterator[ExecutionResult] | ExecutionResult:
        """Open a subscription: an iterator of results, or one result with the errors.

        `max_fields` is that of each result. The iterator raises ResultTooLarge, as `execute` does.

        Raises:
            TooManyInvalidValues: the variables are invalid and too many to describe.
        """
        values = self._coerce(variables)
        if isinstance(values, list):
            return ExecutionResult(None, errors=values)
        variant = self._variant(variables)
        if variant is None or variant.source is None:  # as in execute
            return await self._core.subscribe(context=context, variables=variables, root=root)
        try:
            run = Run(context=context, root=root, variables=values)
            events = await _open_events(
                variant.source, run, hide_suggestions=self._core.hide_suggestions
            )
        except GraphQLError as error:
            return ExecutionResult(None, errors=[error])
        return _results(events, variant.steps, context, values, max_fields)

    def _coerce(self, variables: Mapping[str, Any] | None) -> VariableValues | list[GraphQLError]:
        """As `Variables.coerce`, but no condition may be null.

        graphql-core would execute the other fields, without a limit of their number.
        """
        values = self._variables.coerce(variables)
        if not self._conditions or isinstance(values, list):
            return values
        choice = self._choice(variables)
        if None not in choice:
            return values
        name = list(self._conditions)[choice.index(None)]
        message = f"Variable '${name}' decides an @include or @skip and must not be null."
        return [InvalidVariable(GraphQLError(message), field=name)]

    def _choice(self, variables: Mapping[str, Any] | None) -> Choice:
        """The values of the conditions; None if one is not a boolean, which is an error."""
        given = variables or {}
        values = [given.get(name, default) for name, default in self._conditions.items()]
        return tuple([value if value.__class__ is bool else None for value in values])

    def _variant(self, variables: Mapping[str, Any] | None) -> Variant | None:
        """The compiled functions; None if they cannot be compiled."""
        choice = self._choice(variables) if self._conditions else ()
        if choice not in self._variants:
            self._keep(choice, self._compile(choice))
        elif len(self._variants) > 1:
            self._variants.move_to_end(choice)
        return self._variants[choice]

    def _keep(self, choice: Choice, variant: Variant | None) -> None:
        self._variants[choice] = variant
        if len(self._variants) > _KEPT_VARIANTS:
            self._variants.popitem(last=False)

    def _compile(self, choice: Choice) -> Variant | None:
        schema, operation, hide_suggestions, _ = self._core
        conditions = VariableValues({}, dict(zip(self._conditions, choice, strict=True)))
        compiler = Compiler(schema, operation, conditions, hide_suggestions=hide_suggestions)
        is_subscription = self.kind is OperationType.SUBSCRIPTION
        try:
            steps = compiler.steps(self._root_type, serial=self.kind is OperationType.MUTATION)
            source = compiler.first_field(self._root_type) if is_subscription else None
        except (GraphQLError, RecursionError):
            return None
        return Variant(steps, source)


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
    max_fields: float,
) -> AsyncIterator[ExecutionResult]:
    async with aclosing(events) as source:
        async for event in source:
            run = Run(context=context, root=event, variables=variables, max_fields=max_fields)
            yield await run_steps(steps, run)


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

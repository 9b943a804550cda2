"""Plans of documents: parsed, weighed, validated, compiled and cached."""

import asyncio
import gc
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from graphql import GraphQLError, GraphQLSchema, OperationType, specified_rules, validate
from graphql.validation import (
    ASTValidationRule,
    NoSchemaIntrospectionCustomRule,
    OverlappingFieldsCanBeMergedRule,
    ValidationContext,
)

from db.errors import BadInput, HowdahError
from db.users import Scopes
from graph.context import Context
from graph.executor import Operation, Plan, compile_plan
from graph.executor.document import select_operation
from graph.operations.limits import CostProgram, RequestLimits, parse_document, weigh
from graph.operations.root_fields import ignores_token, is_urgent, required_scopes, root_field

_MAX_ERRORS = 5  # graphql-core may print the whole document in each error
_OVERLAP_BUDGET = 10_000  # about 25 ms; the default takes a second
_LARGE_CHARACTERS = 2_000
_BYTES_PER_TOKEN = 500  # the syntax tree and the plan, measured


class _OverlappingFieldsRule(OverlappingFieldsCanBeMergedRule):
    """The only rule with superlinear cost, limited by a budget per request."""

    def __init__(self, context: ValidationContext) -> None:
        super().__init__(context)
        self.rule_context.remaining_complexity_budget = _OVERLAP_BUDGET


RULES: tuple[type[ASTValidationRule], ...] = tuple(
    _OverlappingFieldsRule if rule is OverlappingFieldsCanBeMergedRule else rule
    for rule in specified_rules
)


class Refused(Exception):
    """The request was refused before execution, with these errors."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__(*errors)
        self.errors = errors

    @property
    def code(self) -> str:
        """The code of the first error."""
        first = self.errors[0]
        return first.code if isinstance(first, HowdahError) else BadInput.code


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan, and the program that computes its cost for the variables of a request."""

    plan: Plan
    kind: OperationType
    cost: CostProgram
    max_cost: int
    operation: Operation
    size_bytes: int
    is_large: bool
    """Whether its document is parsed, validated and compiled in a thread."""
    urgent: bool
    """Whether it bypasses the queue of the viewer."""
    ignores_token: bool
    """Whether it runs, without a viewer, if the access token is not valid or cannot be checked."""
    field: str
    """Its root field, such as `Query.tasks`; `Query.*` stands for several."""
    scopes: Scopes | None
    """The scopes that an access token for programs needs; None if it may not run this."""


class Plans:
    """Plans by document and operation name, evicted least recently used."""

    def __init__(
        self,
        schema: GraphQLSchema,
        *,
        limits: RequestLimits,
        introspection: bool,
        suggestions: bool,
    ) -> None:
        self._schema = schema
        self._limits = limits
        self._rules = RULES if introspection else (*RULES, NoSchemaIntrospectionCustomRule)
        self._hide_suggestions = not suggestions
        self.hits = 0
        self.misses = 0
        self._kept: OrderedDict[tuple[str, str | None], Prepared] = OrderedDict()
        self._room_count = limits.kept_plans
        self._room_bytes = limits.kept_plan_bytes
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="documents")

    @property
    def count(self) -> int:
        return len(self._kept)

    def find(self, text: str, operation_name: str | None) -> Prepared | None:
        """The cached plan of one operation, or None."""
        key = (text, operation_name)
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            self.hits += 1
        return kept

    async def make(
        self, text: str, operation_name: str | None, variables: Mapping[str, Any] | None = None
    ) -> Prepared:
        """Prepare and cache the plan of one operation, ready for a run with these variables.

        Raises:
            Refused: the document is invalid or too expensive.
        """
        self.misses += 1
        try:
            prepared = await self._prepare_fairly(text, operation_name)
            await self.compile(prepared, variables)
        finally:
            gc.collect(
                0
            )  # validation leaves reference cycles: 25 ms of collection per 80 documents
        self._keep((text, operation_name), prepared)
        return prepared

    async def compile(self, prepared: Prepared, variables: Mapping[str, Any] | None) -> None:
        """Compile what the plan lacks for these variables: a combination of conditions."""
        thread = self._thread if prepared.is_large else None
        await prepared.plan.compile_for(variables, thread)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _prepare_fairly(self, text: str, operation_name: str | None) -> Prepared:
        """Prepare large documents in one thread, so that they do not block the event loop."""
        if not _is_large(text):
            return self._prepare(text, operation_name)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._prepare, text, operation_name)

    def _prepare(self, text: str, operation_name: str | None) -> Prepared:
        try:
            document = parse_document(text, self._limits)
            operation = select_operation(document, operation_name)
            cost = weigh(operation.definition, operation.fragments, self._limits)
            if errors := validate(
                self._schema,
                document,
                self._rules,
                max_errors=_MAX_ERRORS,
                hide_suggestions=self._hide_suggestions,
            ):
                raise Refused(*errors)
            plan = compile_plan(
                self._schema,
                document,
                operation_name,
                hide_suggestions=self._hide_suggestions,
                before_mutation_field=Context.forget_loaded,
            )
        except (GraphQLError, HowdahError) as error:
            raise Refused(error) from None
        size_bytes = len(text) + document.token_count * _BYTES_PER_TOKEN * plan.max_variants
        return Prepared(
            plan,
            plan.kind,
            cost,
            self._max_cost(plan, cost),
            operation,
            size_bytes,
            is_large=_is_large(text),
            urgent=is_urgent(self._schema, operation.definition),
            ignores_token=ignores_token(self._schema, operation.definition),
            field=root_field(self._schema, operation.definition, operation.fragments),
            scopes=required_scopes(self._schema, operation.definition, operation.fragments),
        )

    def _max_cost(self, plan: Plan, cost: CostProgram) -> int:
        """More than the result may have, if the plan stops at its limit.

        Introspection is resolved without a pause, in which other operations could run. A mutation
        has changed the data before its result is known.
        """
        is_query = plan.kind is OperationType.QUERY
        if is_query and plan.counts_fields and not cost.introspects:
            return self._limits.requested_fields
        return self._limits.fields

    def _keep(self, key: tuple[str, str | None], prepared: Prepared) -> None:
        if key in self._kept:
            return  # two requests prepared the same document concurrently
        self._kept[key] = prepared
        self._room_count -= 1
        self._room_bytes -= prepared.size_bytes
        while self._room_count < 0 or self._room_bytes < 0:
            _, dropped = self._kept.popitem(last=False)
            self._room_count += 1
            self._room_bytes += dropped.size_bytes


def _is_large(text: str) -> bool:
    return len(text) >= _LARGE_CHARACTERS

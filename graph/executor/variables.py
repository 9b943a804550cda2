"""The variables of an operation: what a request sends becomes what the fields are given."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from graphql import GraphQLError, GraphQLSchema, VariableDefinitionNode
from graphql.execution.get_variable_signature import (
    GraphQLVariableSignature,
    get_variable_signature,
)
from graphql.execution.values import VariableValues, VariableValueSource, get_variable_values
from graphql.pyutils import Undefined
from graphql.type import is_non_null_type
from graphql.utilities.coerce_input_value import coerce_default_value

from db.errors import BadInput
from graph.executor.inputs import Coerce, SlowPath, input_coercer, require_immutable

_MOST_ERRORS = 5  # graphql-core looks through the whole value for the text of each
_MOST_VALUES = 20_000


class _Variable(NamedTuple):
    """One variable, as it is declared."""

    name: str
    signature: GraphQLVariableSignature
    coerce: Coerce
    default: Any
    required: bool


class Variables:
    """Coerces them for one operation: the usual at once, the rest as graphql-core does."""

    def __init__(
        self,
        schema: GraphQLSchema,
        definitions: Sequence[VariableDefinitionNode],
        *,
        hide_suggestions: bool,
    ) -> None:
        self._schema = schema
        self._definitions = definitions
        self._hide_suggestions = hide_suggestions
        self._variables = _parse_definitions(schema, definitions)

    def coerce(self, given: Mapping[str, Any] | None) -> VariableValues | list[GraphQLError]:
        given = given or {}
        try:
            return self._coerce_fast(given)
        except (SlowPath, RecursionError):
            _reject_many_values(given)
            return get_variable_values(
                self._schema,
                self._definitions,
                dict(given),
                max_errors=_MOST_ERRORS,
                hide_suggestions=self._hide_suggestions,
            )

    def _coerce_fast(self, given: Mapping[str, Any]) -> VariableValues:
        if self._variables is None:
            raise SlowPath
        sources: dict[str, VariableValueSource] = {}
        coerced: dict[str, Any] = {}
        for name, signature, coerce, default, required in self._variables:
            if name in given:
                coerced[name] = coerce(given[name])
                sources[name] = VariableValueSource(signature, given[name])
                continue
            if default is not Undefined:
                coerced[name] = require_immutable(default)
            elif required:
                raise SlowPath
            sources[name] = VariableValueSource(signature)
        return VariableValues(sources, coerced)


def _reject_many_values(given: Mapping[str, Any]) -> None:
    """What is right is coerced in at once; looking for what is wrong takes several times as long."""
    waiting: list[Any] = list(given.values())
    seen = 0
    while waiting:
        value = waiting.pop()
        if isinstance(value, list | dict):
            seen += len(value)
            if seen > _MOST_VALUES:
                raise BadInput(
                    "Something in the variables is not as the operation declares it, and they are "
                    "too many to say what.",
                    hint=f"Try with fewer than {_MOST_VALUES:,} values, in lists and objects.",
                )
            waiting += value if isinstance(value, list) else value.values()


def _parse_definitions(
    schema: GraphQLSchema, definitions: Sequence[VariableDefinitionNode]
) -> Sequence[_Variable] | None:
    """None where one of them is wrong in itself: each request shall hear it."""
    declared = []
    for node in definitions:
        signature = get_variable_signature(schema, node)
        if isinstance(signature, GraphQLError):
            return None
        try:
            default = coerce_default_value(signature)
        except TypeError:
            return None
        required = is_non_null_type(signature.type)
        coerce = input_coercer(signature.type)
        declared.append(_Variable(signature.name, signature, coerce, default, required))
    return declared

"""Coerces the variables of a request to the types that the operation declares."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from graphql import GraphQLError, GraphQLSchema, VariableDefinitionNode
from graphql.execution.get_variable_signature import (
    GraphQLVariableSignature,
    get_variable_signature,
)
from graphql.execution.values import VariableValues, VariableValueSource, get_variable_values
from graphql.pyutils import Undefined
from graphql.type import is_non_null_type
from graphql.utilities.coerce_input_value import coerce_default_value

from graph.executor.document import Operation
from graph.executor.inputs.coercers import Coerce, SlowPath, input_coercer, require_immutable

_MAX_ERRORS = 5  # graphql-core traverses the whole value to describe each error
_MAX_VALUES = 20_000

_INVALID = re.compile(
    r"Variable '\$(\w+)' has invalid value(?: at ([\w.[\]]+))?: "
    r"(?:Expected value of type '\w+' to include required field '(\w+)')?"
)
"""graphql-core tells the path of an error in its text only."""


class TooManyInvalidValues(ValueError):
    """The variables are invalid, and have more values than the search for the error allows."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"invalid variables with more than {limit:,} values")
        self.limit = limit


class InvalidVariable(GraphQLError):
    """An error of graphql-core about a variable, and the input field that is wrong."""

    def __init__(self, error: GraphQLError, field: str) -> None:
        super().__init__(error.message, error.nodes, original_error=error.original_error)
        self.field = field


class _Variable(NamedTuple):
    """The definition of one variable."""

    name: str
    signature: GraphQLVariableSignature
    coerce: Coerce
    default: Any
    required: bool


class Variables:
    """Coerces the variables of one operation. graphql-core words the errors."""

    def __init__(
        self,
        schema: GraphQLSchema,
        operation: Operation,
        *,
        hide_suggestions: bool,
    ) -> None:
        self._schema = schema
        self._operation = operation
        self._definitions = operation.definition.variable_definitions or ()
        self._hide_suggestions = hide_suggestions
        self._variables = _parse_definitions(schema, self._definitions)

    def coerce(self, given: Mapping[str, Any] | None) -> VariableValues | list[GraphQLError]:
        """Coerce the values of a request, or list what is wrong with them.

        Raises:
            TooManyInvalidValues: a value is invalid, and there are too many to find out which.
        """
        given = given or {}
        try:
            return self._coerce_fast(given)
        except (SlowPath, RecursionError):
            _reject_many_values(given)
            values = get_variable_values(
                self._schema,
                self._definitions,
                dict(given),
                max_errors=_MAX_ERRORS,
                hide_suggestions=self._hide_suggestions,
            )
        if isinstance(values, list):
            return [self._with_field(error) for error in values]
        return values

    def _with_field(self, error: GraphQLError) -> GraphQLError:
        """Names the field as resolvers do: from the argument's value on, without items of lists."""
        found = _INVALID.match(error.message)
        if found is None:  # the default of a variable, too many errors, or too deep a value
            return error
        name, path, missing = found.groups(default="")
        place = f"{self._operation.use_of(name)}{path}.{missing}".partition("[")[0]
        argument, *fields = place.strip(".").split(".")
        return InvalidVariable(error, ".".join(fields) or argument)

    def _coerce_fast(self, given: Mapping[str, Any]) -> VariableValues:
        if self._variables is None:
            raise SlowPath
        coerced: dict[str, Any] = {}
        for name, _, coerce, default, required in self._variables:
            if name in given:
                coerced[name] = coerce(given[name])
            elif default is not Undefined:
                coerced[name] = require_immutable(default)
            elif required:
                raise SlowPath
        return cast("VariableValues", _Values(coerced, given, self._variables))


class _Values:
    """Replaces graphql-core's `VariableValues`. Few read the sources, which are made on access."""

    __slots__ = ("_given", "_variables", "coerced")

    def __init__(
        self,
        coerced: dict[str, Any],
        given: Mapping[str, Any],
        variables: Sequence[_Variable],
    ) -> None:
        self.coerced = coerced
        self._given = given
        self._variables = variables

    @property
    def sources(self) -> dict[str, VariableValueSource]:
        return {
            name: VariableValueSource(signature, self._given.get(name, Undefined))
            for name, signature, *_ in self._variables
        }


def _reject_many_values(given: Mapping[str, Any]) -> None:
    """Limit the work of finding errors, which takes several times as long as coercing."""
    pending: list[Any] = list(given.values())
    seen = 0
    while pending:
        value = pending.pop()
        if isinstance(value, list | dict):
            seen += len(value)
            if seen > _MAX_VALUES:
                raise TooManyInvalidValues(_MAX_VALUES)
            pending += value if isinstance(value, list) else value.values()


def _parse_definitions(
    schema: GraphQLSchema, definitions: Sequence[VariableDefinitionNode]
) -> Sequence[_Variable] | None:
    """Returns None if a definition is invalid, so that each request reports the error."""
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

"""The arguments of a field, computed as seldom as can be."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from graphql import GraphQLError
from graphql.execution.values import VariableValues, get_argument_values

from graph.executor.document import has_variable
from graph.executor.info import Field
from graph.executor.inputs import IMMUTABLE
from graph.executor.run import Run

# From GraphQL's values to what the resolver takes; the second argument is Strawberry's Info.
Convert: TypeAlias = Callable[[dict[str, Any], Any], dict[str, Any]]
Arguments: TypeAlias = Callable[[Run, Any], dict[str, Any]]


def arguments_of(field: Field, convert: Convert, *, hide_suggestions: bool) -> Arguments:
    """How a call of the field's resolver learns its arguments.

    Immutable ones are computed once for the plan where they are constant, and once for a run
    where they hold variables; others for every call, since a resolver may change what it gets.
    """
    node = field.nodes[0]

    def compute(variables: VariableValues) -> dict[str, Any]:
        return get_argument_values(
            field.definition, node, variables, hide_suggestions=hide_suggestions
        )

    def arguments(run: Run, info: Any) -> dict[str, Any]:
        known = run.arguments.get(field)
        if known is not None:
            return known
        values = compute(run.variables)
        converted = convert(values, info)
        if _is_immutable(values) and _is_immutable(converted):
            run.arguments[field] = converted
        return converted

    if any(has_variable(argument.value) for argument in node.arguments or ()):
        return arguments
    try:
        values = compute(VariableValues({}, {}))
        constant = convert(values, None) if _is_immutable(values) else values
    except (GraphQLError, TypeError, ValueError):  # then the call shall say so, in its place
        return arguments
    return (lambda _run, _info: constant) if _is_immutable(constant) else arguments


def _is_immutable(values: Mapping[str, Any]) -> bool:
    return all(isinstance(value, IMMUTABLE) for value in values.values())

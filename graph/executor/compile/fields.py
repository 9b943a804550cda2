"""Access to the value of a field: the cheapest for its resolver, and the arguments of the call."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from graphql import GraphQLError
from graphql.execution import default_field_resolver
from graphql.execution.values import VariableValues, get_argument_values

from graph.executor.document import has_variable
from graph.executor.execute.run import Field, Path, ResolveInfo, Run
from graph.executor.inputs.coercers import IMMUTABLE

# Converts GraphQL values for the resolver; the second argument is Strawberry's Info.
Convert: TypeAlias = Callable[[dict[str, Any], Any], dict[str, Any]]
Arguments: TypeAlias = Callable[[Run, Any], dict[str, Any]]


def arguments_of(field: Field, convert: Convert, *, hide_suggestions: bool) -> Arguments:
    """A function that computes the arguments for a call of the field's resolver.

    Immutable arguments are computed once per plan if they are constant, and once per run if they
    contain variables. Mutable ones are computed for each call, since a resolver may change them.
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
    except (GraphQLError, TypeError, ValueError):  # reported as an error of the field by each call
        return arguments
    return (lambda _run, _info: constant) if _is_immutable(constant) else arguments


def _is_immutable(values: Mapping[str, Any]) -> bool:
    return all(isinstance(value, IMMUTABLE) for value in values.values())


@dataclass(frozen=True, slots=True)
class FieldAccess:
    """A Python expression for the value of a field, inlined in generated code.

    It may use ``source``, ``run``, ``{path}`` (the path of the field) and ``{function}``.
    """

    expression: str
    function: Callable[..., Any] | None = None
    column: str | None = None
    """The only attribute of `source` that the value depends on, where that is known."""
    spelling: str = "{0}"
    """The value, as a Python expression of the column."""


def resolver_call(field: Field, *, hide_suggestions: bool) -> FieldAccess:
    """Call the resolver of the GraphQL field in the same way as graphql-core."""
    resolve: Callable[..., Any] = field.definition.resolve or default_field_resolver
    arguments = arguments_of(field, lambda values, _info: values, hide_suggestions=hide_suggestions)

    def call(source: Any, path: Path, run: Run) -> Any:
        return resolve(source, ResolveInfo(field, path, run), **arguments(run, None))

    return FieldAccess("{function}(source, {path}, run)", call)

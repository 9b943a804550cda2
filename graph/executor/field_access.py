"""Access to the value of a field, and the access that suits every GraphQL resolver."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from graphql.execution import default_field_resolver

from graph.executor.argument_values import arguments_of
from graph.executor.errors import Path
from graph.executor.info import Field, ResolveInfo
from graph.executor.run import Run


@dataclass(frozen=True, slots=True)
class FieldAccess:
    """A Python expression for the value of a field, inlined in generated code.

    It may use ``source``, ``run``, ``{path}`` (the path of the field) and ``{function}``.
    """

    expression: str
    function: Callable[..., Any] | None = None


def resolver_call(field: Field, *, hide_suggestions: bool) -> FieldAccess:
    """Call the resolver of the GraphQL field in the same way as graphql-core."""
    resolve: Callable[..., Any] = field.definition.resolve or default_field_resolver
    arguments = arguments_of(field, lambda values, _info: values, hide_suggestions=hide_suggestions)

    def call(source: Any, path: Path, run: Run) -> Any:
        return resolve(source, ResolveInfo(field, path, run), **arguments(run, None))

    return FieldAccess("{function}(source, {path}, run)", call)

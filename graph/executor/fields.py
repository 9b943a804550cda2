"""How a field gets its value: read, called directly, or through Strawberry's resolver."""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter
from keyword import iskeyword
from typing import Any, cast

from graphql.execution import default_field_resolver
from strawberry import Schema
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.arguments import convert_arguments
from strawberry.types.field import StrawberryField
from strawberry.types.fields.resolver import StrawberryResolver

from graph.executor.errors import Path
from graph.executor.info import Field, ResolveInfo
from graph.executor.run import Run
from graph.executor.values import arguments_of


@dataclass(frozen=True, slots=True)
class Reading:
    """A field's value as a Python expression.

    It is written with ``source``, ``run``, ``{path}`` (the field's own) and ``{function}``.
    """

    expression: str
    function: Callable[..., Any] | None = None


def reading_of(field: Field, *, hide_suggestions: bool) -> Reading:
    """The cheapest way to a field's value that means the same as calling its resolver."""
    definition = field.definition.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    schema = field.schema.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    if isinstance(definition, StrawberryField) and isinstance(schema, Schema):
        if definition.is_subscription:
            return Reading("source")  # the event itself
        if schema.exception_handlers:
            return _resolver_call(field, hide_suggestions=hide_suggestions)
        if _is_attribute(definition):
            return Reading(f"source.{definition.python_name}")
        if _is_bare(definition):
            return _direct_call(field, definition, schema, hide_suggestions=hide_suggestions)
    return _resolver_call(field, hide_suggestions=hide_suggestions)


def _is_attribute(definition: StrawberryField) -> bool:
    """Whether Strawberry would do no more than read an attribute."""
    name = definition.python_name
    return (
        definition.is_basic_field
        and definition.default_resolver is getattr
        and type(definition).get_result is StrawberryField.get_result
        and name.isidentifier()
        and not iskeyword(name)
    )


def _is_bare(definition: StrawberryField) -> bool:
    """Whether nothing stands between the field and its resolver function."""
    resolver = definition.base_resolver
    return (
        resolver is not None
        and not definition.extensions
        and type(definition).get_result is StrawberryField.get_result
        and type(resolver) is StrawberryResolver
        and callable(resolver.wrapped_func)
    )


def _direct_call(
    field: Field, definition: StrawberryField, schema: Schema, *, hide_suggestions: bool
) -> Reading:
    """Call the resolver function itself, with what it asks for."""
    resolver = definition.base_resolver
    assert resolver is not None  # noqa: S101 - _is_bare has seen to it
    function = cast("Callable[..., Any]", resolver.wrapped_func)
    parameters = list(resolver.signature.parameters.values())
    parent = resolver.self_parameter or resolver.parent_parameter or resolver.root_parameter
    if not parameters:
        return Reading("{function}()", function)
    if parent and parameters == [parent] and parent.kind is not Parameter.KEYWORD_ONLY:
        return Reading("{function}(source)", function)
    return Reading(
        "{function}(source, {path}, run)",
        _with_arguments(field, definition, resolver, schema, hide_suggestions=hide_suggestions),
    )


def _with_arguments(
    field: Field,
    definition: StrawberryField,
    resolver: StrawberryResolver[Any],
    schema: Schema,
    *,
    hide_suggestions: bool,
) -> Callable[[Any, Path, Run], Any]:
    function = cast("Callable[..., Any]", resolver.wrapped_func)
    takes_self = resolver.self_parameter is not None
    named_parents = {
        parameter.name
        for parameter in (resolver.parent_parameter, resolver.root_parameter)
        if parameter is not None
    }
    info_name = resolver.info_parameter.name if resolver.info_parameter else None
    info_class = schema.config.info_class

    def convert(values: dict[str, Any], info: Any) -> dict[str, Any]:
        return convert_arguments(
            values,
            definition.arguments,
            scalar_registry=schema.schema_converter.scalar_registry,
            config=schema.config,
            info=info,
        )

    arguments = arguments_of(field, convert, hide_suggestions=hide_suggestions)

    def call(source: Any, path: Path, run: Run) -> Any:
        info: Any = info_class(_raw_info=ResolveInfo(field, path, run), _field=definition)  # type: ignore[arg-type]  # our stand-in
        named = dict.fromkeys(named_parents, source)
        if info_name is not None:
            named[info_name] = info
        positional = (source,) if takes_self else ()
        return function(*positional, **named, **arguments(run, info))

    return call


def _resolver_call(field: Field, *, hide_suggestions: bool) -> Reading:
    """Call the resolver of the GraphQL field, as graphql-core would."""
    resolve: Callable[..., Any] = field.definition.resolve or default_field_resolver
    arguments = arguments_of(field, lambda values, _info: values, hide_suggestions=hide_suggestions)

    def call(source: Any, path: Path, run: Run) -> Any:
        return resolve(source, ResolveInfo(field, path, run), **arguments(run, None))

    return Reading("{function}(source, {path}, run)", call)

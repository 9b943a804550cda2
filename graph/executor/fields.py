"""How a field gets its value: read, called directly, or through Strawberry's resolver."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import Parameter
from keyword import iskeyword
from typing import Any, cast

from graphql.execution import default_field_resolver
from strawberry import Schema
from strawberry.permission import BasePermission, PermissionExtension
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.arguments import convert_arguments
from strawberry.types.field import StrawberryField
from strawberry.types.fields.resolver import StrawberryResolver

from graph.executor.arguments import fast_arguments
from graph.executor.errors import Path
from graph.executor.info import Field, ResolveInfo
from graph.executor.inputs import SlowPath
from graph.executor.run import Run, abandon
from graph.executor.values import Arguments, arguments_of


@dataclass(frozen=True, slots=True)
class FieldAccess:
    """A field's value as a Python expression.

    It is written with ``source``, ``run``, ``{path}`` (the field's own) and ``{function}``.
    """

    expression: str
    function: Callable[..., Any] | None = None


def field_access(field: Field, *, hide_suggestions: bool) -> FieldAccess:
    """The cheapest way to a field's value that means the same as calling its resolver."""
    definition = field.definition.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    schema = field.schema.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    if isinstance(definition, StrawberryField) and isinstance(schema, Schema):
        if definition.is_subscription:
            return FieldAccess("source")  # the event itself
        if schema.exception_handlers:
            return _resolver_call(field, hide_suggestions=hide_suggestions)
        if _is_attribute(definition):
            return FieldAccess(f"source.{definition.python_name}")
        if _has_plain_resolver(definition):
            return _direct_call(field, definition, schema, hide_suggestions=hide_suggestions)
        if permissions := _permissions_of(definition):
            return _guarded_call(
                field, definition, schema, permissions, hide_suggestions=hide_suggestions
            )
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


def _has_plain_resolver(definition: StrawberryField) -> bool:
    """Whether nothing stands between the field and its resolver function."""
    return not definition.extensions and _has_function(definition)


def _permissions_of(definition: StrawberryField) -> Sequence[BasePermission]:
    """What alone stands between the field and its resolver function."""
    match definition.extensions:
        case [PermissionExtension() as only] if type(only) is PermissionExtension:
            if only.supports_sync and not only.fail_silently and _has_function(definition):
                return only.permissions
    return ()


def _has_function(definition: StrawberryField) -> bool:
    resolver = definition.base_resolver
    return (
        resolver is not None
        and type(definition).get_result is StrawberryField.get_result
        and type(resolver) is StrawberryResolver
        and callable(resolver.wrapped_func)
    )


def _direct_call(
    field: Field, definition: StrawberryField, schema: Schema, *, hide_suggestions: bool
) -> FieldAccess:
    """Call the resolver function itself, with what it asks for."""
    resolver = definition.base_resolver
    assert resolver is not None  # noqa: S101 - _has_plain_resolver has seen to it
    function = cast("Callable[..., Any]", resolver.wrapped_func)
    parameters = list(resolver.signature.parameters.values())
    parent = resolver.self_parameter or resolver.parent_parameter or resolver.root_parameter
    if not parameters:
        return FieldAccess("{function}()", function)
    if parent and parameters == [parent] and parent.kind is not Parameter.KEYWORD_ONLY:
        return FieldAccess("{function}(source)", function)
    call = _caller(field, definition, resolver, schema)
    short = fast_arguments(field, definition, schema)
    long = _full_arguments(field, definition, schema, hide_suggestions=hide_suggestions)

    def call_with_arguments(source: Any, path: Path, run: Run) -> Any:
        info = call.info(path, run)
        try:
            named = long(run, info) if short is None else short(run.variables.coerced)
        except SlowPath:
            named = long(run, info)
        return call(source, info, named)

    return FieldAccess("{function}(source, {path}, run)", call_with_arguments)


def _guarded_call(
    field: Field,
    definition: StrawberryField,
    schema: Schema,
    permissions: Sequence[BasePermission],
    *,
    hide_suggestions: bool,
) -> FieldAccess:
    """Ask the permissions, then call the resolver function; Strawberry itself refuses."""
    long = _resolver_call(field, hide_suggestions=hide_suggestions)
    resolver, short = definition.base_resolver, fast_arguments(field, definition, schema)
    if resolver is None or short is None or long.function is None:
        return long
    call, full_call = _caller(field, definition, resolver, schema), long.function

    def call_if_allowed(source: Any, path: Path, run: Run) -> Any:
        try:
            named = short(run.variables.coerced)
        except SlowPath:
            return full_call(source, path, run)
        info = call.info(path, run)
        for permission in permissions:
            verdict = permission.has_permission(source, info, **named)
            if verdict is not True:
                abandon([verdict])
                return full_call(source, path, run)
        return call(source, info, named)

    return FieldAccess(long.expression, call_if_allowed)


class _Caller:
    """Calls a resolver function with the parents and the info that it asks for."""

    def __init__(
        self,
        field: Field,
        definition: StrawberryField,
        resolver: StrawberryResolver[Any],
        info_class: Callable[..., Any],
    ) -> None:
        self._field = field
        self._definition = definition
        self._info_class = info_class
        self._function = cast("Callable[..., Any]", resolver.wrapped_func)
        self._takes_self = resolver.self_parameter is not None
        self._info_name = resolver.info_parameter.name if resolver.info_parameter else None
        parents = (resolver.parent_parameter, resolver.root_parameter)
        self._parents = {parent.name for parent in parents if parent is not None}

    def info(self, path: Path, run: Run) -> Any:
        raw = ResolveInfo(self._field, path, run)
        return self._info_class(_raw_info=raw, _field=self._definition)

    def __call__(self, source: Any, info: Any, named: dict[str, Any]) -> Any:
        for parent in self._parents:
            named = named | {parent: source}
        if self._info_name is not None:
            named = named | {self._info_name: info}
        return self._function(source, **named) if self._takes_self else self._function(**named)


def _caller(
    field: Field, definition: StrawberryField, resolver: StrawberryResolver[Any], schema: Schema
) -> _Caller:
    return _Caller(field, definition, resolver, schema.config.info_class)


def _full_arguments(
    field: Field, definition: StrawberryField, schema: Schema, *, hide_suggestions: bool
) -> Arguments:
    def convert(values: dict[str, Any], info: Any) -> dict[str, Any]:
        return convert_arguments(
            values,
            definition.arguments,
            scalar_registry=schema.schema_converter.scalar_registry,
            config=schema.config,
            info=info,
        )

    return arguments_of(field, convert, hide_suggestions=hide_suggestions)


def _resolver_call(field: Field, *, hide_suggestions: bool) -> FieldAccess:
    """Call the resolver of the GraphQL field, as graphql-core would."""
    resolve: Callable[..., Any] = field.definition.resolve or default_field_resolver
    arguments = arguments_of(field, lambda values, _info: values, hide_suggestions=hide_suggestions)

    def call(source: Any, path: Path, run: Run) -> Any:
        return resolve(source, ResolveInfo(field, path, run), **arguments(run, None))

    return FieldAccess("{function}(source, {path}, run)", call)

"""Adapts Strawberry to the executor: its fields, permissions, arguments and types.

This is the only module of the executor that imports Strawberry. A schema that was not made with
Strawberry runs through the resolvers of graphql-core.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING
from inspect import Parameter
from keyword import iskeyword
from typing import Any, cast

from graphql.pyutils import Undefined
from strawberry import Schema
from strawberry.permission import BasePermission, PermissionExtension
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.arguments import _is_leaf_type, convert_arguments
from strawberry.types.base import (
    StrawberryList,
    StrawberryMaybe,
    StrawberryObjectDefinition,
    StrawberryOptional,
    has_object_definition,
)
from strawberry.types.field import StrawberryField
from strawberry.types.fields.resolver import StrawberryResolver

from graph.executor.compile.fields import Arguments, FieldAccess, arguments_of, resolver_call
from graph.executor.execute.batched import ResolveMany
from graph.executor.execute.run import Field, Path, ResolveInfo, Run, abandon
from graph.executor.hints import LONG_TEXT, many_form_of, spelling_of
from graph.executor.inputs.arguments import Read, argument_reader
from graph.executor.inputs.coercers import Coerce, SlowPath, unchanged


def field_access(field: Field, *, hide_suggestions: bool) -> FieldAccess:
    """Select the cheapest access to a field's value that is equivalent to calling its resolver."""
    definition = field.definition.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    schema = field.schema.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    if isinstance(definition, StrawberryField) and isinstance(schema, Schema):
        if definition.is_subscription:
            return FieldAccess("source")  # the event itself
        if schema.exception_handlers:
            return resolver_call(field, hide_suggestions=hide_suggestions)
        if _is_attribute(definition):
            return _attribute_access(definition)
        if _has_plain_resolver(definition):
            return _direct_call(field, definition, schema, hide_suggestions=hide_suggestions)
        if permissions := _permissions_of(definition):
            return _guarded_call(
                field, definition, schema, permissions, hide_suggestions=hide_suggestions
            )
    return resolver_call(field, hide_suggestions=hide_suggestions)


def many_resolver(field: Field) -> ResolveMany | None:
    """The form of the field's resolver for several parents, if the schema has marked one."""
    definition = field.definition.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    schema = field.schema.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    if not (isinstance(definition, StrawberryField) and isinstance(schema, Schema)):
        return None
    if schema.exception_handlers or not _has_plain_resolver(definition):
        return None
    resolver = cast("StrawberryResolver[Any]", definition.base_resolver)
    resolve_many = many_form_of(cast("Callable[..., Any]", resolver.wrapped_func))
    if resolve_many is None or (short := _fast_arguments(field, definition, schema)) is None:
        return None
    call = _Caller(field, definition, resolver, schema)

    def call_many(parents: Sequence[Any], path: Path, run: Run) -> Any:
        return resolve_many(parents, info=call.info(path, run), **short(run.variables.coerced))

    return call_many


def has_long_result(field: Field) -> bool:
    """Whether the text that its asynchronous resolver returns counts as several fields."""
    definition = field.definition.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    return isinstance(definition, StrawberryField) and definition.metadata.get(LONG_TEXT) is True


def _is_attribute(definition: StrawberryField) -> bool:
    """Whether the resolver only reads an attribute."""
    name = definition.python_name
    return (
        definition.is_basic_field
        and definition.default_resolver is getattr
        and type(definition).get_result is StrawberryField.get_result
        and name.isidentifier()
        and not iskeyword(name)
    )


def _attribute_access(definition: StrawberryField) -> FieldAccess:
    name = definition.python_name
    if (text := definition.metadata.get(LONG_TEXT)) is not None:
        return FieldAccess(_counted(f"source.{name}", text))
    return FieldAccess(f"source.{name}", column=name)


def _counted(expression: str, text: str) -> str:
    return f"run.counted({expression}, source.{text})"


def _has_plain_resolver(definition: StrawberryField) -> bool:
    """Whether the field calls its resolver function without extensions."""
    return not definition.extensions and _has_function(definition)


def _permissions_of(definition: StrawberryField) -> Sequence[BasePermission]:
    """The permissions of a field whose only extension they are; else empty."""
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
    """Call the resolver function with the parameters that it declares."""
    resolver = definition.base_resolver
    assert resolver is not None  # noqa: S101 - checked by _has_plain_resolver
    function = cast("Callable[..., Any]", resolver.wrapped_func)
    parameters = list(resolver.signature.parameters.values())
    parent = resolver.self_parameter or resolver.parent_parameter or resolver.root_parameter
    if not parameters:
        return FieldAccess("{function}()", function)
    if parent and parameters == [parent] and parent.kind is not Parameter.KEYWORD_ONLY:
        if isinstance(text := definition.metadata.get(LONG_TEXT), str):
            return FieldAccess(_counted("{function}(source)", text), function)
        return FieldAccess("{function}(source)", function, *(spelling_of(function) or ()))
    call = _Caller(field, definition, resolver, schema)
    short = _fast_arguments(field, definition, schema)
    long = _full_arguments(field, definition, schema, hide_suggestions=hide_suggestions)

    def call_with_arguments(source: Any, path: Path, run: Run) -> Any:
        info = call.info(path, run)
        try:
            named = dict(long(run, info)) if short is None else short(run.variables.coerced)
        except SlowPath:
            named = dict(long(run, info))
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
    """Check the permissions, then call the resolver function.

    If a permission denies access, Strawberry's own resolver runs and raises the error.
    """
    long = resolver_call(field, hide_suggestions=hide_suggestions)
    resolver, short = definition.base_resolver, _fast_arguments(field, definition, schema)
    if resolver is None or short is None or long.function is None:
        return long
    call, full_call = _Caller(field, definition, resolver, schema), long.function

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
    """Calls a resolver function with the parent and info parameters that it declares."""

    def __init__(
        self,
        field: Field,
        definition: StrawberryField,
        resolver: StrawberryResolver[Any],
        schema: Schema,
    ) -> None:
        self._field = field
        self._definition = definition
        self._info_class: Callable[..., Any] = schema.config.info_class
        self._function = cast("Callable[..., Any]", resolver.wrapped_func)
        self._takes_self = resolver.self_parameter is not None
        self._info_name = resolver.info_parameter.name if resolver.info_parameter else None
        parents = (resolver.parent_parameter, resolver.root_parameter)
        self._parents = {parent.name for parent in parents if parent is not None}

    def info(self, path: Path, run: Run) -> Any:
        raw = ResolveInfo(self._field, path, run)
        return self._info_class(raw, self._definition)

    def __call__(self, source: Any, info: Any, named: dict[str, Any]) -> Any:
        """Adds to `named`, which is that of this call alone."""
        for parent in self._parents:
            named[parent] = source
        if self._info_name is not None:
            named[self._info_name] = info
        return self._function(source, **named) if self._takes_self else self._function(**named)


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


def _fast_arguments(
    field: Field, definition: StrawberryField, schema: Schema
) -> Callable[[Mapping[str, Any]], dict[str, Any]] | None:
    """A function from variables to the keyword arguments of the resolver.

    It raises SlowPath if Strawberry has to convert them. Returns None if it would always do so.
    """
    nodes = {node.name.value: node.value for node in field.nodes[0].arguments or ()}
    arguments: list[tuple[str, Read, Coerce]] = []
    for argument in definition.arguments:
        name = schema.config.name_converter.from_argument(argument)
        convert = argument_converter(argument.type, schema)
        if convert is None or argument.python_name is None:
            return None
        try:
            read = argument_reader(nodes.get(name), field.definition.args[name])
        except (SlowPath, TypeError, ValueError):
            return None
        arguments.append((argument.python_name, read, convert))

    def convert_variables(variables: Mapping[str, Any]) -> dict[str, Any]:
        named: dict[str, Any] = {}
        for name, read, convert in arguments:
            value = read(variables)
            if value is not Undefined:
                named[name] = value if convert is unchanged else convert(value)
        return named

    return convert_variables


def argument_converter(type_: Any, schema: Schema) -> Coerce | None:
    """A function equivalent to Strawberry's `convert_argument`, or None for unsupported types."""
    if isinstance(type_, StrawberryMaybe):
        return None
    if isinstance(type_, StrawberryOptional):
        return argument_converter(type_.of_type, schema)
    if isinstance(type_, StrawberryList):
        return _list_converter(type_, schema)
    if _is_leaf_type(type_, schema.schema_converter.scalar_registry):
        return unchanged
    if has_object_definition(type_):
        return _object_converter(type_, schema)
    return None


def _list_converter(type_: StrawberryList, schema: Schema) -> Coerce | None:
    convert = argument_converter(type_.of_type, schema)
    if convert is None:
        return None
    return lambda value: None if value is None else [convert(item) for item in value]


def _object_converter(cls: Any, schema: Schema) -> Coerce | None:
    definition: StrawberryObjectDefinition = cls.__strawberry_definition__
    if not definition.is_input or definition.from_input is not None:
        return None
    name_of = schema.config.name_converter.from_field
    fields: list[tuple[str, str, Coerce]] = []
    for field in definition.fields:
        convert = argument_converter(field.resolve_type(type_definition=definition), schema)
        if convert is None:
            return None
        fields.append((name_of(field), field.python_name, convert))
    absent = {field.python_name: None for field in definition.fields if _has_no_default(field)}

    def convert_object(value: Any) -> Any:
        if value is None:
            return None
        named = {
            python_name: convert(value[name])
            for name, python_name, convert in fields
            if name in value
        }
        return cls(**(absent | named))

    return convert_object


def _has_no_default(field: StrawberryField) -> bool:
    return field.default_value is MISSING and field.default_factory is MISSING

"""Readers of argument values: from coerced variables to the value of one argument."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from graphql import (
    GraphQLArgument,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    ObjectValueNode,
    ValueNode,
    VariableNode,
)
from graphql.pyutils import Undefined
from graphql.type import get_nullable_type, is_input_object_type, is_non_null_type
from graphql.utilities.coerce_input_value import coerce_default_value, coerce_input_literal

from graph.executor.document import has_variable
from graph.executor.inputs.coercers import (
    IMMUTABLE,
    SlowPath,
    is_plain,
    require_immutable,
)

Read: TypeAlias = Callable[[Mapping[str, Any]], Any]
"""Returns a value for the coerced variables, or `Undefined` if it is omitted."""


def argument_reader(node: ValueNode | None, target: GraphQLArgument | GraphQLInputField) -> Read:
    """A reader for an argument, or for a field of an input object.

    Raises:
        SlowPath: graphql-core has to compute the value, or to report an error.
    """
    default = coerce_default_value(target)
    required = is_non_null_type(target.type)
    if node is None:
        if required and default is Undefined:
            raise SlowPath
        return _constant(default)
    if isinstance(node, VariableNode):
        return _variable(node.name.value, default, required=required)
    return _literal(node, target.type)


def _constant(value: Any) -> Read:
    if value is not Undefined:
        require_immutable(value)
    return lambda _variables: value


def _variable(name: str, default: Any, *, required: bool) -> Read:
    def read(variables: Mapping[str, Any]) -> Any:
        if name not in variables:
            if default is Undefined:
                if required:
                    raise SlowPath
                return Undefined
            return require_immutable(default)
        value = variables[name]
        if value is None and required:
            raise SlowPath
        return value

    return read


def _literal(node: ValueNode, type_: GraphQLInputType) -> Read:
    if not has_variable(node):
        value = coerce_input_literal(node, type_)
        if value is Undefined:
            raise SlowPath
        if isinstance(value, IMMUTABLE):
            return lambda _variables: value
        return lambda _variables: coerce_input_literal(node, type_)
    object_type = get_nullable_type(type_)
    if isinstance(node, ObjectValueNode) and is_input_object_type(object_type):
        return _object(node, object_type)
    raise SlowPath


def _object(node: ObjectValueNode, type_: GraphQLInputObjectType) -> Read:
    nodes = {field.name.value: field.value for field in node.fields}
    if not is_plain(type_) or any(name not in type_.fields for name in nodes):
        raise SlowPath
    fields = [
        (field.out_name or name, argument_reader(nodes.get(name), field))
        for name, field in type_.fields.items()
    ]

    def read(variables: Mapping[str, Any]) -> Any:
        found = {}
        for name, read_field in fields:
            value = read_field(variables)
            if value is not Undefined:
                found[name] = value
        return found

    return read

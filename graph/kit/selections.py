"""Tells which fields of an object an operation selects, before the object exists."""

from collections.abc import Collection, Mapping
from typing import Any

from graphql import (
    BooleanValueNode,
    DirectiveNode,
    SelectionNode,
    ValueNode,
    VariableNode,
)

from graph.context import Info
from graph.executor import fields_below


def selects_any(info: Info, names: Collection[str]) -> bool:
    """Whether the field that is resolved selects one of these fields of its type.

    For resolvers that do work ahead of the fields, such as subscriptions: others leave it to the
    resolver of the field itself. Conditions of `@skip` and `@include` are evaluated.
    """
    # `info.selected_fields` expands every fragment as often as it is spread
    raw, variables = info._raw_info, info.variable_values  # noqa: SLF001
    selected = fields_below(
        raw.field_nodes, raw.fragments, lambda selection: _is_included(selection, variables)
    )
    return any(field.name.value in names for field in selected)


def _is_included(selection: SelectionNode, variables: Mapping[str, Any]) -> bool:
    conditions = {
        directive.name.value: _condition(directive, variables)
        for directive in selection.directives or ()
        if directive.name.value in {"skip", "include"}
    }
    return not conditions.get("skip", False) and conditions.get("include", True)


def _condition(directive: DirectiveNode, variables: Mapping[str, Any]) -> bool:
    (value,) = (argument.value for argument in directive.arguments or ())
    return _boolean(value, variables)


def _boolean(value: ValueNode, variables: Mapping[str, Any]) -> bool:
    if isinstance(value, VariableNode):
        return bool(variables.get(value.name.value))
    return isinstance(value, BooleanValueNode) and value.value

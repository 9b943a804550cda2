"""Tells which fields of an object an operation selects, before the object exists."""

from collections.abc import Collection, Mapping
from typing import Any

from graphql import (
    BooleanValueNode,
    DirectiveNode,
    FieldNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    SelectionNode,
    ValueNode,
    VariableNode,
)

from graph.context import Info


def selects_any(info: Info, names: Collection[str]) -> bool:
    """Whether the field that is resolved selects one of these fields of its type.

    For resolvers that do work ahead of the fields, such as subscriptions: others leave it to the
    resolver of the field itself. Conditions of `@skip` and `@include` are evaluated.
    """
    # `info.selected_fields` expands every fragment as often as it is spread
    raw, variables = info._raw_info, info.variable_values  # noqa: SLF001
    pending = [node.selection_set for node in raw.field_nodes]
    spread = set[str]()
    while pending:
        selection_set = pending.pop()
        for selection in selection_set.selections if selection_set else ():
            if not _is_included(selection, variables):
                continue
            match selection:
                case FieldNode(name=name):
                    if name.value in names:
                        return True
                case InlineFragmentNode(selection_set=inner):
                    pending.append(inner)
                case FragmentSpreadNode(name=name) if name.value not in spread:
                    spread.add(name.value)
                    pending.append(raw.fragments[name.value].selection_set)
    return False


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

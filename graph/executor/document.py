"""Selection and analysis of one operation of a document."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from graphql import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLDeferDirective,
    GraphQLError,
    GraphQLIncludeDirective,
    GraphQLSkipDirective,
    GraphQLStreamDirective,
    InlineFragmentNode,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
)
from graphql.type.directives import GraphQLDisableErrorPropagationDirective

_CONDITIONS = {GraphQLSkipDirective.name, GraphQLIncludeDirective.name}
_CHANGE_EXECUTION = {
    GraphQLDeferDirective.name,
    GraphQLStreamDirective.name,
    GraphQLDisableErrorPropagationDirective.name,
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a document, with all fragments of the document."""

    document: DocumentNode
    definition: OperationDefinitionNode
    name: str | None
    fragments: dict[str, FragmentDefinitionNode]

    def conditions(self) -> dict[str, object]:
        """The variables in @skip and @include conditions, with their defaults."""
        names = {
            argument.value.name.value
            for directive in self._directives()
            if directive.name.value in _CONDITIONS
            for argument in directive.arguments or ()
            if isinstance(argument.value, VariableNode)
        }
        return {
            name: getattr(node.default_value, "value", None)
            for node in self.definition.variable_definitions or ()
            if (name := node.variable.name.value) in names
        }

    def fields_below(
        self, nodes: Iterable[FieldNode | OperationDefinitionNode]
    ) -> Iterator[FieldNode]:
        """The fields selected on the values of `nodes`, whatever their conditions and types."""
        return fields_below(nodes, self.fragments)

    def is_compilable(self) -> bool:
        """Whether the compiled executor supports every directive and fragment of it."""
        if any(fragment.variable_definitions for fragment in self.fragments.values()):
            return False
        return not any(
            directive.name.value in _CHANGE_EXECUTION for directive in self._directives()
        )

    def use_of(self, variable: str) -> str:
        """Where a field first takes the variable, such as `.input.title`; `[]` is a list."""
        for selection in self._selections():
            if not isinstance(selection, FieldNode):
                continue
            for argument in selection.arguments or ():
                path = _path_to(variable, argument.value)
                if path is not None:
                    return f".{argument.name.value}{path}"
        return f".{variable}"  # only a directive takes it

    def _directives(self) -> Iterator[DirectiveNode]:
        yield from self.definition.directives or ()
        for selection in self._selections():
            yield from selection.directives or ()

    def _selections(self) -> Iterator[SelectionNode]:
        pending: list[SelectionSetNode] = [self.definition.selection_set]
        pending += [fragment.selection_set for fragment in self.fragments.values()]
        while pending:
            for selection in pending.pop().selections:
                yield selection
                if (
                    isinstance(selection, FieldNode | InlineFragmentNode)
                    and selection.selection_set
                ):
                    pending.append(selection.selection_set)


def select_operation(document: DocumentNode, name: str | None) -> Operation:
    """Find the requested operation, with the rules and error texts of graphql-core."""
    operations = [
        node for node in document.definitions if isinstance(node, OperationDefinitionNode)
    ]
    if name is not None:
        operations = [node for node in operations if node.name and node.name.value == name]
        if not operations:
            raise GraphQLError(f"Unknown operation named '{name}'.")
    if not operations:
        raise GraphQLError("Must provide an operation.")
    if len(operations) > 1:
        raise GraphQLError("Must provide operation name if query contains multiple operations.")
    fragments = {
        node.name.value: node
        for node in document.definitions
        if isinstance(node, FragmentDefinitionNode)
    }
    return Operation(document, operations[0], name, fragments)


def fields_below(
    nodes: Iterable[FieldNode | OperationDefinitionNode],
    fragments: Mapping[str, FragmentDefinitionNode],
    is_included: Callable[[SelectionNode], bool] = lambda _: True,
) -> Iterator[FieldNode]:
    """The fields selected on the values of `nodes`. Each fragment is expanded once."""
    pending = [node.selection_set for node in nodes if node.selection_set]
    spread = set[str]()
    while pending:
        for selection in pending.pop().selections:
            if not is_included(selection):
                continue
            match selection:
                case FieldNode():
                    yield selection
                case InlineFragmentNode(selection_set=inner):
                    pending.append(inner)
                case FragmentSpreadNode(name=name) if name.value not in spread:
                    spread.add(name.value)
                    pending.append(fragments[name.value].selection_set)


def has_variable(node: ValueNode) -> bool:
    """Whether a value depends on a variable."""
    if isinstance(node, ListValueNode):
        return any(has_variable(item) for item in node.values)
    if isinstance(node, ObjectValueNode):
        return any(has_variable(item.value) for item in node.fields)
    return isinstance(node, VariableNode)


def _path_to(variable: str, node: ValueNode) -> str | None:
    if isinstance(node, VariableNode):
        return "" if node.name.value == variable else None
    items: list[tuple[str, ValueNode]] = []
    if isinstance(node, ListValueNode):
        items = [("[]", item) for item in node.values]
    elif isinstance(node, ObjectValueNode):
        items = [(f".{item.name.value}", item.value) for item in node.fields]
    for key, value in items:
        path = _path_to(variable, value)
        if path is not None:
            return key + path
    return None

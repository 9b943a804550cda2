"""The whole text of a plan: its nodes as a tree, and what follows them."""

from collections.abc import Iterator
from typing import Any

from db.workbench.plans.text_form.formats import number_or_zero
from db.workbench.plans.text_form.node_name import first_line
from db.workbench.plans.text_form.property_lines import property_lines

_INDENT = "  "


def plan_text(statements: list[dict[str, Any]]) -> str:
    """`statements` is the plan of each statement into which rules have rewritten one."""
    return "\n\n".join("\n".join(_statement(each)) for each in statements)


def _statement(statement: dict[str, Any]) -> Iterator[str]:
    yield from _nodes(statement["Plan"])
    if settings := statement.get("Settings"):
        yield "Settings: " + ", ".join(f"{name} = '{value}'" for name, value in settings.items())
    if "Query Identifier" in statement:
        yield f"Query Identifier: {statement['Query Identifier']}"
    if planning := list(property_lines(statement.get("Planning", {}))):
        yield "Planning:"
        yield from (_INDENT * (depth + 1) + line for depth, line in planning)
    if "Planning Time" in statement:
        yield f"Planning Time: {number_or_zero(statement, 'Planning Time'):.3f} ms"
    yield from _triggers(statement.get("Triggers", []))
    if "JIT" in statement:
        for depth, line in property_lines({"JIT": statement["JIT"]}):
            yield _INDENT * depth + line
    if "Execution Time" in statement:
        yield f"Execution Time: {number_or_zero(statement, 'Execution Time'):.3f} ms"


def _nodes(root: dict[str, Any]) -> Iterator[str]:
    """Without recursion, in preorder; each node with its depth of indentation."""
    waiting: list[tuple[int, dict[str, Any]]] = [(0, root)]
    while waiting:
        depth, node = waiting.pop()
        if "Subplan Name" in node:
            yield f"{_INDENT * depth}{node['Subplan Name']}"
            depth += 1
        arrow = "->  " if depth else ""
        yield f"{_INDENT * depth}{arrow}{first_line(node)}"
        depth += 3 if depth else 1
        yield from (_INDENT * (depth + more) + line for more, line in property_lines(node))
        waiting += [(depth, child) for child in reversed(node.get("Plans", []))]


def _triggers(triggers: list[dict[str, Any]]) -> Iterator[str]:
    """The JSON form always has the table, which PostgreSQL shows if there are several."""
    tables = {trigger.get("Relation") for trigger in triggers}
    for trigger in triggers:
        text = f"Trigger {trigger.get('Trigger Name')}"
        if "Constraint Name" in trigger:
            text += f" for constraint {trigger['Constraint Name']}"
        if len(tables) > 1:
            text += f" on {trigger.get('Relation')}"
        time = f"time={number_or_zero(trigger, 'Time'):.3f} " if "Time" in trigger else ""
        yield f"{text}: {time}calls={number_or_zero(trigger, 'Calls'):.0f}"

"""The first line of a node: its name, what it reads, costs and times."""

from typing import Any

from db.workbench.plans.text_form.formats import actual, number_or_zero
from db.workbench.plans.text_form.identifiers import quote_identifier

_STRATEGIES = {"Sorted": "GroupAggregate", "Hashed": "HashAggregate", "Mixed": "MixedAggregate"}
_TARGETS = ("Relation Name", "Function Name", "Table Function Name", "CTE Name", "Tuplestore Name")


def first_line(node: dict[str, Any]) -> str:
    parallel = "Parallel " if node.get("Parallel Aware") is True else ""
    is_async = "Async " if node.get("Async Capable") is True else ""
    return f"{parallel}{is_async}{_name(node)}{_object(node)}{_costs(node)}{_actual(node)}"


def target(node: dict[str, Any]) -> str:
    """The table or the like of a node, and its alias."""
    alias = str(node["Alias"])
    name = next((str(node[key]) for key in _TARGETS if key in node), None)
    found = " on"
    if name is not None:
        schema = f"{quote_identifier(str(node['Schema']))}." if "Schema" in node else ""
        found += f" {schema}{quote_identifier(name)}"
    return found if name == alias else f"{found} {quote_identifier(alias)}"


def _name(node: dict[str, Any]) -> str:
    kind, operation = str(node.get("Node Type", "")), str(node.get("Operation", ""))
    is_hashed = node.get("Strategy") == "Hashed"
    match kind:
        case "Nested Loop" | "Merge Join" | "Hash Join":
            name = _join(kind, str(node.get("Join Type", "Inner")))
        case "Aggregate":
            mode = node.get("Partial Mode", "Simple")
            name = _STRATEGIES.get(str(node.get("Strategy")), kind)
            name = name if mode == "Simple" else f"{mode} {name}"
        case "SetOp":
            name = f"{'HashSetOp' if is_hashed else kind} {node.get('Command', '')}"
        case "ModifyTable":
            name = operation
        case "Foreign Scan" if operation != "Select":
            name = f"Foreign {operation}"
        case "Custom Scan" if "Custom Plan Provider" in node:
            name = f"{kind} ({node['Custom Plan Provider']})"
        case _:
            name = kind
    return name


def _join(kind: str, join: str) -> str:
    """The type of the join is part of the name: `Hash Left Join`, but `Nested Loop Left Join`."""
    return kind if join == "Inner" else f"{kind.removesuffix(' Join')} {join} Join"


def _object(node: dict[str, Any]) -> str:
    index = quote_identifier(str(node["Index Name"])) if "Index Name" in node else ""
    if node.get("Node Type") == "Bitmap Index Scan":
        return f" on {index}"
    backward = " Backward" if node.get("Scan Direction") == "Backward" else ""
    using = f"{backward} using {index}" if index else ""
    return using + (target(node) if "Alias" in node else "")


def _costs(node: dict[str, Any]) -> str:
    if "Total Cost" not in node:
        return ""
    startup, total = number_or_zero(node, "Startup Cost"), number_or_zero(node, "Total Cost")
    rows, width = number_or_zero(node, "Plan Rows"), number_or_zero(node, "Plan Width")
    return f"  (cost={startup:.2f}..{total:.2f} rows={rows:.0f} width={width:.0f})"


def _actual(node: dict[str, Any]) -> str:
    if "Actual Loops" not in node:
        return ""
    return f" ({actual(node)})" if number_or_zero(node, "Actual Loops") else " (never executed)"

"""The plan that PostgreSQL answers as JSON, as a flat list of nodes in preorder."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from db.workbench.plans.numbers import number
from db.workbench.plans.own_times import own_times
from db.workbench.plans.text_form import plan_text

MAX_NODES = 2_000
MAX_DEPTH = 200
"""Levels of nodes. Each is two levels of JSON, whose encoder takes about 1,000."""

_BUFFERS = {
    f"{kind}_{what}": f"{kind.title()} {what.title()} Blocks"
    for kind, whats in (
        ("shared", ("hit", "read", "dirtied", "written")),
        ("local", ("hit", "read", "dirtied", "written")),
        ("temp", ("read", "written")),
    )
    for what in whats
}
_NAMED = frozenset(
    (
        "Node Type",
        "Relation Name",
        "Schema",
        "Index Name",
        "Alias",
        "Startup Cost",
        "Total Cost",
        "Plan Rows",
        "Actual Rows",
        "Actual Loops",
        "Filter",
        "Plans",
        *_BUFFERS.values(),
    )
)
"""Properties that are attributes of a node; all others are its details."""


class PlanUnreadable(Exception):
    """The server did not answer with a plan."""


class PlanTooLarge(Exception):
    """The text names the limit that it exceeds."""


class PlanBuffers(NamedTuple):
    """Blocks that a node and those below it accessed."""

    shared_hit: int
    shared_read: int
    shared_dirtied: int
    shared_written: int
    local_hit: int
    local_read: int
    local_dirtied: int
    local_written: int
    temp_read: int
    temp_written: int


class PlanNode(msgspec.Struct, frozen=True):
    id: str
    """Differs from those of all other plans: clients cache objects by their ID."""
    parent_id: str | None
    node_type: str
    relation: str | None
    schema_name: str | None
    index: str | None
    alias: str | None
    startup_cost: float | None
    total_cost: float | None
    plan_rows: float | None
    actual_rows: float | None
    loops: int | None
    self_ms: float | None
    self_share: float | None
    buffers: PlanBuffers | None
    filter: str | None
    details: dict[str, Any]


class Plan(NamedTuple):
    """The nodes of a statement, or of the statements into which rules have rewritten it."""

    nodes: list[PlanNode]
    planning_ms: float | None
    execution_ms: float | None
    document: list[Any]
    """What PostgreSQL answered."""
    answer: str
    """The same as it was sent."""

    @property
    def text(self) -> str | None:
        """None if the server, which may not be PostgreSQL, answered with properties of its own."""
        try:
            return plan_text(plans_of(self.document))
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
            return None


class RawNode(NamedTuple):
    parent: int | None
    properties: dict[str, Any]


def parse_plan(text: str, *, prefix: str = "") -> Plan:
    """Reads the answer of EXPLAIN (FORMAT JSON). `prefix` begins the IDs of its nodes.

    Raises:
        PlanUnreadable: It is not one.
        PlanTooLarge: It has too many nodes, or nodes below each other.
    """
    try:
        document = msgspec.json.decode(text, type=list[Any])
    except RecursionError:
        raise PlanTooLarge(f"more than {MAX_DEPTH} levels of nodes") from None
    except msgspec.DecodeError:
        raise PlanUnreadable from None
    raw: list[RawNode] = []
    self_ms: list[float | None] = []
    for statement in plans_of(document):
        nodes = list(_flatten(statement["Plan"], limit=MAX_NODES - len(raw)))
        self_ms += own_times(nodes)
        first = len(raw)
        raw += [
            node._replace(parent=None if node.parent is None else node.parent + first)
            for node in nodes
        ]
    total = sum(ms for ms in self_ms if ms is not None)
    return Plan(
        nodes=[
            _to_node(
                f"{prefix}{index}",
                None if node.parent is None else f"{prefix}{node.parent}",
                node.properties,
                ms,
                None if ms is None else ms / total if total else 0.0,
            )
            for index, (node, ms) in enumerate(zip(raw, self_ms, strict=True))
        ],
        planning_ms=_sum(document, "Planning Time"),
        execution_ms=_sum(document, "Execution Time"),
        document=document,
        answer=text,
    )


def plans_of(document: list[Any]) -> list[dict[str, Any]]:
    """Rules may rewrite a statement into several, or into none."""
    return [
        each for each in document if isinstance(each, dict) and isinstance(each.get("Plan"), dict)
    ]


def _flatten(root: dict[str, Any], limit: int) -> Iterator[RawNode]:
    """Without recursion: the depth is up to the server."""
    count = 0
    waiting: list[tuple[int | None, int, dict[str, Any]]] = [(None, 1, root)]
    while waiting:
        parent, depth, properties = waiting.pop()
        if count >= limit:
            raise PlanTooLarge(f"more than {MAX_NODES} nodes")
        if depth > MAX_DEPTH:
            raise PlanTooLarge(f"more than {MAX_DEPTH} levels of nodes")
        yield RawNode(parent, properties)
        children = properties.get("Plans") or []
        if not isinstance(children, list) or not all(isinstance(each, dict) for each in children):
            raise PlanUnreadable
        waiting += [(count, depth + 1, child) for child in reversed(children)]
        count += 1


def _to_node(
    node_id: str,
    parent_id: str | None,
    properties: dict[str, Any],
    self_ms: float | None,
    self_share: float | None,
) -> PlanNode:
    loops = number(properties, "Actual Loops")
    return PlanNode(
        id=node_id,
        parent_id=parent_id,
        node_type=_text(properties, "Node Type") or "",
        relation=_text(properties, "Relation Name"),
        schema_name=_text(properties, "Schema"),
        index=_text(properties, "Index Name"),
        alias=_text(properties, "Alias"),
        startup_cost=number(properties, "Startup Cost"),
        total_cost=number(properties, "Total Cost"),
        plan_rows=number(properties, "Plan Rows"),
        actual_rows=number(properties, "Actual Rows"),
        loops=None if loops is None else int(loops),
        self_ms=None if self_ms is None else round(self_ms, 3),
        self_share=None if self_share is None else round(self_share, 6),
        buffers=_buffers(properties),
        filter=_text(properties, "Filter"),
        details={key: value for key, value in properties.items() if key not in _NAMED},
    )


def _buffers(properties: dict[str, Any]) -> PlanBuffers | None:
    """None if the statement was not executed, for which PostgreSQL answers zeros."""
    if "Actual Loops" not in properties or "Shared Hit Blocks" not in properties:
        return None
    return PlanBuffers(
        **{name: int(number(properties, key) or 0) for name, key in _BUFFERS.items()}
    )


def _text(properties: dict[str, Any], key: str) -> str | None:
    value = properties.get(key)
    return value if isinstance(value, str) else None


def _sum(document: list[Any], key: str) -> float | None:
    times = [ms for each in plans_of(document) if (ms := number(each, key)) is not None]
    return round(sum(times), 3) if times else None

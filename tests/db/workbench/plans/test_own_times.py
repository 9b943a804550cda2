"""The own time of nodes: loops, parallel workers, CTEs, InitPlans, and times that do not add up."""

import json
from typing import Any

import pytest

from db.workbench.plans.plan_nodes import (
    MAX_DEPTH,
    Plan,
    PlanTooLarge,
    PlanUnreadable,
    parse_plan,
)


def node(kind: str, ms: float, *plans: Any, loops: int = 1, **more: Any) -> dict[str, Any]:
    times = {"Actual Startup Time": 0.0, "Actual Total Time": ms, "Actual Loops": loops}
    named = {key.replace("_", " "): value for key, value in more.items()}
    return {"Node Type": kind, **times, **named, "Plans": list(plans)}


def outer(kind: str, ms: float, *plans: Any, **more: Any) -> dict[str, Any]:
    return node(kind, ms, *plans, **{"Parent_Relationship": "Outer"} | more)


def attached(name: str, plan: dict[str, Any]) -> dict[str, Any]:
    return plan | {"Parent Relationship": "InitPlan", "Subplan Name": name}


def parse(*roots: dict[str, Any]) -> Plan:
    return parse_plan(json.dumps([{"Plan": root} for root in roots]))


def own(*roots: dict[str, Any]) -> list[float]:
    return [each.self_ms or 0.0 for each in parse(*roots).nodes]


def test_own_time_counts_every_loop() -> None:
    inner = outer("Index Scan", 0.5, loops=40, Parent_Relationship="Inner")
    plan = parse(node("Nested Loop", 30, outer("Seq Scan", 4), inner))
    assert [each.self_ms for each in plan.nodes] == [6, 4, 20]
    assert [each.self_share for each in plan.nodes] == [0.2, 0.133333, 0.666667]


def test_own_time_below_gather_is_an_average_of_the_processes() -> None:
    scan = outer("Seq Scan", 8, loops=3)
    once = node("Seq Scan", 1, Parent_Relationship="InitPlan", Subplan_Name="InitPlan 1")
    partial = outer("Aggregate", 10, scan, loops=3)
    assert own(node("Gather", 12, once, partial, Filter="(InitPlan 1).col1")) == [1, 1, 2, 8]
    again = outer("Gather", 5, outer("Seq Scan", 4, loops=6), loops=2)
    assert own(node("Nested Loop", 11, again)) == [1, 2, 8]


def test_own_time_of_cte_counts_at_its_nodes_once() -> None:
    cte = attached("CTE c", node("Sort", 50, outer("Seq Scan", 20)))
    first = outer("CTE Scan", 60, CTE_Name="c")
    second = outer("CTE Scan", 5, CTE_Name="c", Parent_Relationship="Inner")
    assert own(node("Hash Join", 70, cte, first, second)) == [5, 30, 20, 10, 5]
    itself = node("CTE Scan", 60, cte, CTE_Name="c")
    assert own(itself) == [10, 30, 20]
    hidden = outer("CTE Scan", 7, attached("CTE c", node("Result", 6)), CTE_Name="c")
    assert own(node("Append", 70, cte, first, hidden)) == [3, 30, 20, 10, 1, 6]


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("InitPlan 1", "(t.a > (InitPlan 1).col1)"),
        ("InitPlan 1 (returns $0,$1)", "(t.a > $1)"),
    ],
)
def test_own_time_of_init_plan_is_taken_from_its_reader(name: str, reference: str) -> None:
    plan = attached(name, node("Aggregate", 20))
    reader = outer("Seq Scan", 25, Filter=reference)
    assert own(node("Limit", 26, plan, reader)) == [1, 20, 5]
    assert own(node("Limit", 26, plan, outer("Seq Scan", 5))) == [1, 20, 5]


def test_own_time_of_init_plan_that_reads_a_cte() -> None:
    """The CTE is read in the InitPlan, which is read in the scan of the CTE."""
    cte = attached("CTE c", node("Seq Scan", 40))
    plan = attached("InitPlan 2", node("Aggregate", 45, outer("CTE Scan", 42, CTE_Name="c")))
    scan = outer("CTE Scan", 48, CTE_Name="c", Filter="(c.a = (InitPlan 2).col1)")
    assert own(node("Sort", 50, cte, plan, scan)) == [2, 40, 3, 2, 3]


def test_own_time_of_change_in_cte_is_added_after_the_root() -> None:
    change = attached("CTE kept", node("ModifyTable", 30, outer("Seq Scan", 10)))
    assert own(node("Aggregate", 4, change, outer("Seq Scan", 3))) == [1, 20, 10, 3]


def test_own_times_are_never_negative() -> None:
    rounded = outer("Seq Scan", 0.001, loops=5000)
    assert own(node("Nested Loop", 4, rounded, outer("Seq Scan", 3))) == [0, 2.5, 1.5]
    assert own(node("Result", 0.0), node("Result", 0.0)) == [0, 0]


def test_plan_of_rewritten_statement_has_several_roots() -> None:
    plan = parse(node("Insert", 3, outer("Result", 1)), node("Delete", 2))
    assert [each.parent_id for each in plan.nodes] == [None, "0", None]
    assert parse_plan("[]").nodes == []
    assert parse_plan('["Utility Statement"]').nodes == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "7",
        '[{"Plan": {"Plans": 5}}]',
        '[{"Plan": {"Plans": [5]}}]',
    ],
)
def test_answer_that_is_no_plan_is_unreadable(text: str) -> None:
    with pytest.raises(PlanUnreadable):
        parse_plan(text)


def test_plan_of_strange_server_is_read_as_far_as_it_goes() -> None:
    strange = {
        "Node Type": ["x"],
        "Actual Loops": 10**400,
        "Actual Total Time": "soon",
        "Total Cost": 1,
        "Alias": 5,
        "Subplan Name": {},
        "Parent Relationship": "InitPlan",
        "CTE Name": [],
        "Workers": 5,
        "Target Tables": [1],
    }
    text = json.dumps([{"Plan": strange | {"Plans": [strange]}}])
    plan = parse_plan(text)
    assert [(each.node_type, each.loops, each.self_ms) for each in plan.nodes] == [
        ("", None, 0),
        ("", None, 0),
    ]
    assert plan.text is None


def test_plan_that_is_too_deep_is_refused() -> None:
    root: dict[str, Any] = {}
    for _ in range(MAX_DEPTH):
        root = {"Plans": [root]}
    with pytest.raises(PlanTooLarge, match="levels"):
        parse_plan(json.dumps([{"Plan": root}]))
    with pytest.raises(PlanTooLarge, match="levels"):
        parse_plan('[{"Plan": ' + '{"Plans": [' * 5000 + "]}" * 5000 + "}]")

"""Plans of a hundred statements, compared with what PostgreSQL itself answers."""

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

import asyncpg
import pytest

from db.kit.base import new_id
from db.workbench.plans.plan_nodes import Plan, PlanNode, parse_plan
from db.workbench.plans.text_form import plan_text
from db.workbench.sql.explain_text import explain_statement
from tests.fixtures.cluster import Cluster
from tests.fixtures.connected import connected
from tests.fixtures.database import named
from tests.fixtures.planned_shop import CASES, SCHEMA, VARIANTS, PlannedCase
from tests.fixtures.targets import Target

Connect: TypeAlias = Callable[[], AbstractAsyncContextManager[asyncpg.Connection]]
FIELDS = {
    "node_type": "Node Type",
    "relation": "Relation Name",
    "schema_name": "Schema",
    "index": "Index Name",
    "alias": "Alias",
    "startup_cost": "Startup Cost",
    "total_cost": "Total Cost",
    "plan_rows": "Plan Rows",
    "actual_rows": "Actual Rows",
    "loops": "Actual Loops",
    "filter": "Filter",
}
BUFFERS = [
    f"{kind} {what}"
    for kind, whats in (
        ("Shared", "Hit Read Dirtied Written"),
        ("Local", "Hit Read Dirtied Written"),
        ("Temp", "Read Written"),
    )
    for what in whats.split()
]
STABLE = "VERBOSE, SETTINGS, TIMING OFF, SUMMARY OFF, BUFFERS OFF"
"""With these options two executions of a statement without workers have the same text."""
IGNORED = ("Buffers", "WAL", "Worker", "Planning:")
ALL = "ANALYZE, WAL, VERBOSE, SETTINGS, BUFFERS"


@pytest.fixture(scope="module")
async def shops(target: Target, cluster: Cluster) -> AsyncIterator[dict[str, Connect]]:
    """The same tables on two servers of different versions: how to connect to each of them."""
    name = f"planned_{new_id().hex}"
    admin = await asyncpg.connect(cluster.url)
    await admin.execute(f"CREATE DATABASE {name}")
    connects: dict[str, Connect] = {
        "target": target._as_superuser,
        "cluster": lambda: connected(named(cluster.url, name)),
    }
    for connect in connects.values():
        async with connect() as connection:
            for statement in SCHEMA.strip(" ;\n").split(";\n"):
                await connection.execute(statement)
    yield connects
    async with connects["target"]() as connection:
        await connection.execute("DROP SCHEMA shop CASCADE")
    await admin.execute(f"DROP DATABASE {name}")
    await admin.close()


def properties_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The nodes in preorder, by recursion."""
    yield plan
    for child in plan.get("Plans", []):
        yield from properties_of(child)


def check_plan(plan: Plan, document: list[Any]) -> None:
    assert plan.document == document
    expected = [list(properties_of(each["Plan"])) for each in document]
    assert len(plan.nodes) == sum(map(len, expected))
    nodes = iter(plan.nodes)
    for statement in expected:
        ids = {id(properties): node for properties, node in zip(statement, nodes, strict=False)}
        assert ids[id(statement[0])].parent_id is None
        for properties in statement:
            check_node(ids[id(properties)], properties)
            for child in properties.get("Plans", []):
                assert ids[id(child)].parent_id == ids[id(properties)].id


def check_node(node: PlanNode, properties: dict[str, Any]) -> None:
    assert {key: getattr(node, key) for key in FIELDS} == {
        key: properties.get(name) for key, name in FIELDS.items()
    }
    buffers = {name: properties.get(f"{name} Blocks") for name in BUFFERS}
    if node.buffers is not None:
        assert dict(zip(BUFFERS, node.buffers, strict=True)) == buffers
    blocks = {f"{name} Blocks" for name in BUFFERS}
    assert node.details == {
        key: value
        for key, value in properties.items()
        if key not in {*FIELDS.values(), *blocks, "Plans"}
    }


def check_times(plan: Plan, document: list[Any], case: PlannedCase) -> None:
    own = [node.self_ms or 0.0 for node in plan.nodes]
    assert min(own) >= 0
    if sum(own):
        assert sum(node.self_share or 0.0 for node in plan.nodes) == pytest.approx(1, abs=1e-3)
    root = sum(
        each["Plan"]["Actual Total Time"] * each["Plan"]["Actual Loops"] for each in document
    )
    if "kept AS (INSERT" in case.statement:  # it goes on after the root has ended
        assert root - 0.01 <= sum(own) <= (plan.execution_ms or 0)
    else:
        assert sum(own) == pytest.approx(root, abs=0.001 * len(own) + 1e-6)


def repeatable(text: str) -> list[str]:
    """Without estimates, which rise with the pages that a rolled-back change leaves.

    Nor has the JSON form the fraction for which PostgreSQL shows `Rows Removed by Filter: 0`.
    """
    lines = re.sub(r"\(cost=[^)]*\)", "", text).splitlines()
    return [line for line in lines if not re.search(r"Rows Removed by .*: 0$", line)]


def masked(text: str) -> list[str]:
    """Without numbers, and without what depends on which blocks were in memory or need WAL."""
    lines = [re.sub(r"\d+(\.\d+)?", "N", line) for line in repeatable(text)]
    return [line for line in lines if not line.strip().startswith(IGNORED)]


async def explain(shop: asyncpg.Connection, options: str, statement: str) -> str:
    transaction = shop.transaction()
    await transaction.start()
    try:
        rows = await shop.fetch(f"EXPLAIN ({options}) {statement}")
    finally:
        await transaction.rollback()
    return "\n".join(row[0] for row in rows)


@pytest.mark.parametrize(
    ("server", "case"),
    [
        pytest.param(server, case, id=f"{server}-{index}")
        for server, cases in {"target": [*CASES, *VARIANTS], "cluster": CASES}.items()
        for index, case in enumerate(cases)
    ],
)
async def test_plan_is_that_of_postgresql(
    shops: dict[str, Connect], server: str, case: PlannedCase
) -> None:
    async with shops[server]() as shop:
        await shop.execute("SET search_path = shop; SET jit = off")
        for setting in filter(None, case.settings.split(";")):
            await shop.execute(f"SET {setting}")
        if "parallel" not in case.settings:
            await check_text_of_executed(shop, case.statement)
        document = json.loads(await explain(shop, f"FORMAT JSON, {STABLE}", case.statement))
        assert plan_text(document) == await explain(shop, STABLE, case.statement)

        await check_executed(shop, case)


async def check_executed(shop: asyncpg.Connection, case: PlannedCase) -> None:
    """Again with workers whose times do not fit: a paused one goes on after the root has ended."""
    for left in reversed(range(10 if "parallel" in case.settings else 1)):
        transaction = shop.transaction()
        await transaction.start()
        answer = str(await shop.fetchval(explain_statement(case.statement, analyze=True)))
        await transaction.rollback()
        plan = parse_plan(answer)
        check_plan(plan, json.loads(answer))
        assert plan.text is not None
        try:
            check_times(plan, plan.document, case)
        except AssertionError:
            if not left:
                raise
        else:
            return


async def check_text_of_executed(shop: asyncpg.Connection, statement: str) -> None:
    for options, comparable in ((f"ANALYZE, {STABLE}", repeatable), (ALL, masked)):
        document = json.loads(await explain(shop, f"FORMAT JSON, {options}", statement))
        text = await explain(shop, options, statement)
        assert comparable(plan_text(document)) == comparable(text)

"""GraphQL types of query plans."""

import asyncio
from typing import Any

import strawberry

from db.workbench.plans.plan_nodes import Plan
from db.workbench.plans.plan_nodes import PlanBuffers as PlanBuffersRow
from db.workbench.plans.plan_nodes import PlanNode as PlanNodeRow
from graph.kit.fields import attribute, field
from graph.kit.scalars import Json, SafeInt


@strawberry.type(
    description="Blocks of 8 kB (the default of PostgreSQL) that a `PlanNode` accessed, together "
    "with the nodes below it."
)
class PlanBuffers:
    shared_hit: int = attribute("Blocks of tables and indexes found in memory.", type=SafeInt)
    shared_read: int = attribute(
        "Blocks of tables and indexes read from the operating system.", type=SafeInt
    )
    shared_dirtied: int = attribute("Blocks of tables and indexes changed.", type=SafeInt)
    shared_written: int = attribute(
        "Blocks of tables and indexes written out to make room.", type=SafeInt
    )
    local_hit: int = attribute("Blocks of temporary tables found in memory.", type=SafeInt)
    local_read: int = attribute("Blocks of temporary tables read.", type=SafeInt)
    local_dirtied: int = attribute("Blocks of temporary tables changed.", type=SafeInt)
    local_written: int = attribute("Blocks of temporary tables written out.", type=SafeInt)
    temp_read: int = attribute(
        "Blocks read from temporary files of sorts, hashes and the like.", type=SafeInt
    )
    temp_written: int = attribute("Blocks written to temporary files.", type=SafeInt)


@strawberry.type(description="A node of a `QueryPlan`.")
class PlanNode:
    id: strawberry.ID = attribute(
        "Opaque ID of the node, unique among all plans. The node cannot be fetched by it."
    )
    parent_id: strawberry.ID | None = attribute(
        "`id` of the node that reads this one. Null for the root."
    )
    node_type: str = attribute(
        "Type of the node, such as `Seq Scan`, `Hash Join` or `Aggregate`. Its variant is in "
        "`details`, such as `Join Type` or `Strategy`."
    )
    relation: str | None = attribute(
        "Name of the table, without its schema and without quotes. Null if the node reads none."
    )
    schema_name: str | None = attribute(
        "Schema of `relation`, or of the function that the node reads. Null if there is neither."
    )
    index: str | None = attribute("Name of the index. Null if the node uses none.")
    alias: str | None = attribute(
        "Name that the statement gives the table, function or subquery; PostgreSQL numbers it if "
        "it occurs more than once. Null if the node reads none."
    )
    startup_cost: float | None = attribute(
        "Estimated cost until the first row, in the planner's unit. Null if the server does not "
        "tell."
    )
    total_cost: float | None = attribute(
        "Estimated cost until the last row, with the nodes below, in the planner's unit. Null if "
        "the server does not tell."
    )
    plan_rows: float | None = attribute(
        "Estimated number of rows per loop. Null if the server does not tell."
    )
    actual_rows: float | None = attribute(
        "Number of rows per loop, on average. Null without `analyze`."
    )
    loops: int | None = attribute(
        "Number of times the node was executed, in all processes of a parallel plan together. "
        "Zero if it never was. Null without `analyze`.",
        type=SafeInt | None,
    )
    self_ms: float | None = attribute(
        "Time in milliseconds that the node itself took in all its loops, without the nodes below "
        "it, and on average over the processes of a parallel plan. Those of all nodes add up to "
        "the time of the root. Null without `analyze`."
    )
    self_share: float | None = attribute(
        "Share of `selfMs` in the sum over all nodes, from 0 to 1. Null without `analyze`."
    )
    buffers: PlanBuffersRow | None = attribute(
        "Blocks that the node accessed. Null without `analyze`.", type=PlanBuffers | None
    )
    filter: str | None = attribute(
        "Condition that PostgreSQL checks for each row. Null if there is none."
    )
    details: object = attribute(
        "All other properties, under the names that PostgreSQL gives them, such as `Sort Key`, "
        "`Rows Removed by Filter`, `Parent Relationship`, `Output` and `Workers`.",
        type=Json,
    )


@strawberry.type(
    description="The plan that PostgreSQL chose for a statement, and with `analyze` how it was "
    "executed."
)
class QueryPlan:
    planning_ms: float | None = attribute(
        "Time in milliseconds that PostgreSQL took to plan the statement. Null without `nodes`."
    )
    execution_ms: float | None = attribute(
        "Time in milliseconds that PostgreSQL took to execute it, with its triggers. Null without "
        "`analyze`."
    )
    nodes: list[PlanNodeRow] = attribute(
        "Nodes of the plan, each before those below it; at most 2,000. A statement that a rule "
        "has rewritten into several has several roots.",
        type=list[PlanNode],
    )

    @field(
        "The plan as text, as psql shows it with the options `VERBOSE`, `BUFFERS`, `SETTINGS` and "
        "`SUMMARY`. Null if the server answered with a plan that is not of PostgreSQL.",
        long=True,
    )
    async def text(root: strawberry.Parent[Plan]) -> str | None:
        return await asyncio.to_thread(lambda: root.text)  # 60 ms for the largest plans

    @field(
        "The plan in PostgreSQL's `FORMAT JSON`, for tools that draw it.", type=Json, long="answer"
    )
    def json(root: strawberry.Parent[Plan]) -> list[Any]:
        return root.document

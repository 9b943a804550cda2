"""Progress and waits of running statements, read from the users' databases when selected."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import strawberry

from db.runs import RunRow, Runs, RunState
from db.workbench.live.values import NOTHING, LiveSample, OtherSession, ProgressUnit, Waiting
from graph.context import Context
from graph.kit.fields import attribute, field, graphql_enum
from graph.kit.loaders import BatchLoader
from graph.kit.scalars import SafeInt

SAMPLED_FIELDS = ("progress", "waiting")

graphql_enum(
    "Unit in which the progress of a phase is counted.",
    BLOCKS="Blocks of a table or an index, 8 kB each by default.",
    BYTES="Bytes of data that are copied.",
    ROWS="Rows.",
    INDEXES="Indexes of the table.",
    STATISTICS="Extended statistics objects.",
    LOCK_HOLDERS="Transactions that must end before the statement can continue.",
)(ProgressUnit)


@strawberry.type(
    description="Progress of a running maintenance statement or `COPY`, from PostgreSQL's "
    "`pg_stat_progress_*` views."
)
class RunProgress:
    command: str = attribute("Command, such as `CREATE INDEX CONCURRENTLY` or `COPY FROM`.")
    phase: str = attribute(
        "Phase that the command is in, as PostgreSQL names it. `copying rows` for `COPY`."
    )
    unit: ProgressUnit | None = attribute(
        "Unit of `done` and `total`. Null if PostgreSQL does not count this phase."
    )
    done: int | None = attribute(
        "Units done in this phase. Null if PostgreSQL does not count this phase.",
        type=SafeInt | None,
    )
    total: int | None = attribute(
        "Units of this phase. Null if PostgreSQL does not know their number.",
        type=SafeInt | None,
    )
    percent: float | None = attribute(
        "`done` as a percentage of `total`, from 0 to 100. Each phase starts again from 0. Null if "
        "`total` is null."
    )


@strawberry.type(description="A session of the database that holds what a run waits for.")
class BlockingSession:
    pid: int | None = attribute(
        "Process ID of the session on the database server. Null for a prepared transaction, which "
        "has no session."
    )
    username: str | None = attribute(
        "Database role of the session. Null for a prepared transaction, and for a process of "
        "PostgreSQL itself, such as autovacuum."
    )
    application_name: str | None = attribute(
        "`application_name` that the session has set. Null where `username` is."
    )
    state: str | None = attribute(
        "State of the session, such as `active` or `idle in transaction`. Null if PostgreSQL hides "
        "it, as it does with sessions of other roles unless the run's role has "
        "`pg_read_all_stats`."
    )
    statement: str | None = attribute(
        "Statement that the session runs, or ran last; the first 1000 characters. Null if "
        "PostgreSQL hides it."
    )
    since: datetime | None = attribute(
        "Time at which the session entered its `state`. Null if PostgreSQL hides it."
    )


@strawberry.type(description="What the statement of a running `QueryRun` waits for.")
class RunWaiting:
    event_type: str = attribute(
        "Type of the wait event, such as `Lock`, `IO`, `Client` or `Timeout`."
    )
    event: str = attribute(
        "Wait event as PostgreSQL names it, such as `relation`, `transactionid` or `DataFileRead`."
    )
    since: datetime = attribute(
        "Time at which the wait began, by the clock of the database: for locks as PostgreSQL 14 "
        "and later report it, otherwise when Howdah saw the wait first."
    )

    @field(
        "Sessions that hold the lock, or are before the run in its queue, at most 20. Empty if the "
        "run does not wait for a lock.",
        type=list[BlockingSession],
    )
    def blocked_by(root: strawberry.Parent[Waiting]) -> tuple[OtherSession, ...]:
        return root.blocked_by


class LiveSampleById(BatchLoader[UUID, LiveSample]):
    """Samples the runs of an operation together. A run that is not running has an empty sample."""

    @classmethod
    async def of_run(cls, context: Context, run: RunRow) -> LiveSample:
        if run.state != RunState.RUNNING:
            return NOTHING
        return await cls.of(context).load(run.id) or NOTHING

    async def find(self, keys: list[UUID]) -> Mapping[UUID, LiveSample]:
        backends = await self.context.read(Runs, lambda runs: runs.backends(keys))
        return await self.context.services.live_samples.sample(self.context.owner, backends)

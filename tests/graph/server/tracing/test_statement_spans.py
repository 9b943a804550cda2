"""Which traces a statement belongs to."""

import asyncio
from collections.abc import Awaitable

import pytest
from opentelemetry.trace import Tracer

from db.kit.base import new_id
from db.kit.group_commit import GroupCommit
from db.postgres.engine import Database, open_database
from db.postgres.gathering import queues
from db.postgres.sessions import Session
from db.tasks import Tasks
from graph.server.tracing.recording import recording
from graph.server.tracing.statement_spans import summary_of
from tests.fixtures.notes import ADD, ECHO, TWICE
from tests.fixtures.otlp import OtlpCollector, Span
from tests.fixtures.people import add_person


async def in_span(tracer: Tracer, name: str, work: Awaitable[object]) -> None:
    with tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False):
        await work


def statements_of(collector: OtlpCollector, name: str) -> list[Span]:
    """Without the settings of a connection that was opened for them."""
    return [span for span in collector.below(collector.one(name)) if span.name != "SET"]


async def test_gathered_statement_is_in_the_trace_of_each_caller(
    committed: Database,
    committed_url: str,
    exporting: OtlpCollector,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queues, "BATCH_TAKES_S", 1)  # else it depends on the machine
    owner = await add_person(committed, "Ada")

    async def get(database: Database) -> None:
        async with database.read() as session:
            await Tasks(session, owner).get(new_id())

    with recording() as traces:
        database = await open_database(committed_url, pool_size=2)
        tracer = traces._tracer
        await asyncio.gather(*(in_span(tracer, f"caller {n}", get(database)) for n in range(6)))
        await get(database)  # outside of a trace
        await database.close()
    for number in range(6):
        (statement,) = statements_of(exporting, f"caller {number}")
        assert statement.name == "SELECT tasks"
        assert statement.attributes.get("howdah.statement.callers", 1) == (1 if number < 2 else 4)
    assert len([span for span in exporting.spans if span.name == "SELECT tasks"]) == 6


async def test_statements_of_a_common_commit_are_in_the_trace_of_their_caller(
    notes: Database, committed_url: str, exporting: OtlpCollector
) -> None:
    async def write(session: Session, item: int) -> None:
        await session.rows(ADD, id=item)

    with recording() as traces:
        database = await open_database(committed_url, pool_size=2)
        commits = GroupCommit(database, write, order=lambda item: item)
        tracer = traces._tracer
        await asyncio.gather(*(in_span(tracer, f"caller {n}", commits.add(n)) for n in range(4)))
        await database.close()
    for number in range(4):
        found = statements_of(exporting, f"caller {number}")
        assert [span.name for span in found].count("INSERT notes") == 1


async def test_failed_statement_names_its_sqlstate_and_no_value(
    notes: Database, committed_url: str, exporting: OtlpCollector
) -> None:
    with recording() as traces:
        database = await open_database(committed_url, pool_size=2)
        with pytest.raises(Exception, match="duplicate key"):
            await in_span(
                traces._tracer, "caller", database.write(lambda session: session.rows(TWICE))
            )
        await database.close()
    (statement,) = statements_of(exporting, "caller")
    assert statement.failed
    assert statement.attributes["error.type"] == "23505"
    assert b"duplicate key" not in b"".join(exporting.bodies)


async def test_task_that_outlives_its_operation_adds_nothing_to_its_trace(
    committed: Database, committed_url: str, exporting: OtlpCollector
) -> None:
    with recording() as traces:
        database = await open_database(committed_url, pool_size=2)
        ended = asyncio.Event()

        async def later() -> None:
            await ended.wait()
            await database.read().rows(ECHO, number=1)

        with traces._tracer.start_as_current_span("operation"):
            task = asyncio.create_task(later())
        ended.set()
        await task
        await database.close()
    assert [span.name for span in exporting.spans] == ["operation"]


@pytest.mark.parametrize(
    ("sql", "summary"),
    [
        ("SELECT tasks.id FROM tasks WHERE tasks.id = $1", "SELECT tasks"),
        ("UPDATE query_runs SET state = $1", "UPDATE query_runs"),
        ("INSERT INTO tasks (id) VALUES ($1)", "INSERT tasks"),
        ("WITH callers AS (SELECT 1) UPDATE tasks SET n = 1 FROM callers", "UPDATE tasks"),
        ("SELECT n FROM unnest($1) JOIN LATERAL (SELECT id FROM tasks)", "SELECT tasks"),
        ("BEGIN", "BEGIN"),
        ("COMMIT;", "COMMIT"),
        ("", ""),
    ],
)
def test_statement_is_summarised_by_operation_and_table(sql: str, summary: str) -> None:
    assert summary_of(sql) == summary

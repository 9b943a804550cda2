"""mypy refuses a change on a read session, directly or by a repository."""

from pathlib import Path

from mypy import api

ROOT = Path(__file__).parents[3]
SNIPPET = """
from uuid import UUID

from sqlalchemy import text

from db.kit.base import OwnerId
from db.kit.repository import Repository, S
from db.postgres.engine import Database
from db.postgres.sessions import ReadSession, Session
from db.postgres.statements import compile_change, compile_statement
from db.storage.repositories.unscoped import UnscopedFiles
from db.tasks import TaskFilter, TaskRow, Tasks
from graph.context import Context

READ = compile_statement(text("SELECT 1"))
CHANGE = compile_change(text("DELETE FROM notes"))


async def on_a_read_session(database: Database, owner: OwnerId, task_id: UUID) -> None:
    async with database.read() as session:
        await session.value(READ)
        await session.rows(CHANGE)  # refused
        await Tasks(session, owner).count(TaskFilter())
        await Tasks(session, owner).create(title="new")  # refused
        await Tasks(session, owner).remove(task_id)  # refused
        await UnscopedFiles(session).by_id([task_id])
        await UnscopedFiles(session).forget([task_id])  # refused


async def on_a_session(database: Database, owner: OwnerId, task_id: UUID) -> None:
    async def work(session: Session) -> None:
        await session.value(READ)
        await session.rows(CHANGE)
        await Tasks(session, owner).toggle(task_id)

    await database.transaction(work)


async def through_the_context(context: Context, task_id: UUID) -> None:
    await context.read(Tasks, lambda tasks: tasks.get(task_id))
    await context.read(Tasks, lambda tasks: tasks.toggle(task_id))  # refused
    await context.search(Tasks, lambda tasks: tasks.toggle(task_id))  # refused
    await context.write(Tasks, lambda tasks: tasks.toggle(task_id))


class Careless(Repository[TaskRow, S]):
    async def run_a_change(self) -> None:
        await self.run(CHANGE)  # refused
"""


def test_mypy_refuses_a_change_on_a_read_session(tmp_path: Path) -> None:
    """Uses the cache of `make check`: some seconds with it, about 40 without."""
    snippet = tmp_path / "snippet.py"
    snippet.write_text(SNIPPET)
    config = (
        "--config-file",
        str(ROOT / "pyproject.toml"),
        "--cache-dir",
        str(ROOT / ".mypy_cache"),
    )
    found, errors, _ = api.run([*config, "--no-error-summary", str(snippet)])
    refused = {int(line.split(":")[1]) for line in found.splitlines() if ": error:" in line}
    marked = {n for n, line in enumerate(SNIPPET.splitlines(), 1) if line.endswith("# refused")}
    assert (refused, errors) == (marked, ""), found

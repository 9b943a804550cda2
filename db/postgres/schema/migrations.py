"""Runs migrations under a lock, so that concurrent servers migrate once.

Replicas are updated one by one. A migration therefore keeps everything that the previous release
needs, and a server continues to work with a database that a newer one has migrated.
"""

import ast
import contextlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from db.errors import Unavailable
from db.postgres.route.connect import create_engine
from db.postgres.route.urls import parse_url
from db.postgres.sessions import ReadSession
from db.postgres.statements import compile_statement

if TYPE_CHECKING:
    from alembic.config import Config

_LOCK = 0x686F_7764_6168  # "howdah"
_INSUFFICIENT_PRIVILEGE = "42501"
NOT_PERMITTED_HINT = (
    "Make this user the owner: `ALTER DATABASE howdah OWNER TO howdah`, and the same for tables "
    "that belong to another one."
)
_EXISTS = compile_statement(text("SELECT to_regclass('alembic_version') IS NOT NULL"))
_PRESENT = compile_statement(text("SELECT version_num FROM alembic_version"))


def folder() -> Path:
    """The folder `alembic` of a checkout, or of the package `db` in an installed wheel."""
    packaged = Path(__file__).parents[2] / "alembic"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "alembic"


@cache
def revisions() -> tuple[str, ...]:
    """All known revisions, oldest first, read without importing alembic (0.4 s)."""
    files = (folder() / "versions").glob("*.py")
    newer = {older: revision for revision, older in map(_revision, files)}
    ordered = [newer[None]]
    while ordered[-1] in newer:
        ordered.append(newer[ordered[-1]])
    return tuple(ordered)


def head() -> str:
    return revisions()[-1]


async def present(session: ReadSession) -> str | None:
    """The revision of the database, or None."""
    if not await session.value(_EXISTS):
        return None
    revision: str | None = await session.value(_PRESENT)
    return revision


def is_newer(revision: str | None) -> bool:
    """True if a newer release has migrated the database: its revision is unknown here."""
    return revision is not None and revision not in revisions()


async def is_current(session: ReadSession) -> bool:
    """Whether the database has all known migrations. It may have more."""
    revision = await present(session)
    return revision == head() or is_newer(revision)


async def upgrade(url: str, revision: str = "head") -> None:
    """`url` must be the direct URL: a pooler would lose the session lock."""
    from alembic import command

    await _run(url, lambda config: command.upgrade(config, revision))


async def downgrade(url: str, revision: str) -> None:
    from alembic import command

    await _run(url, lambda config: command.downgrade(config, revision))


def write_downgrade(present: str, revision: str, output: IO[str]) -> None:
    """Writes the SQL of a downgrade to `output`. Executes nothing."""
    from alembic import command

    command.downgrade(_config(output_buffer=output), f"{present}:{revision}", sql=True)


async def check(url: str) -> None:
    """Raises alembic's CommandError when the tables and `db.models` differ."""
    from alembic import command

    await _run(url, command.check)


@contextlib.contextmanager
def holding_the_lock(connection: Connection) -> Iterator[None]:
    """Serializes migrations; waiting servers then find nothing left to migrate."""
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
    connection.commit()
    try:
        yield
    finally:
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
        connection.commit()


async def _run(url: str, command: "Callable[[Config], None]") -> None:
    config = _config()

    def on_connection(connection: Connection) -> None:
        config.attributes["connection"] = connection
        with holding_the_lock(connection):  # not in env.py, because alembic's context is global
            command(config)

    engine = create_engine(parse_url(url))
    try:
        async with engine.connect() as connection:
            await connection.run_sync(on_connection)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _INSUFFICIENT_PRIVILEGE:
            raise
        raise _not_permitted(error) from error
    finally:
        await engine.dispose()


def _not_permitted(error: DBAPIError) -> Unavailable:
    return Unavailable(
        f"The user of the database may not migrate it: {error.orig}.",
        hint=NOT_PERMITTED_HINT,
    )


def _config(**options: Any) -> "Config":
    from alembic.config import Config

    config = Config(**options)
    config.set_main_option("script_location", str(folder()).replace("%", "%%"))
    return config


def _revision(path: Path) -> tuple[str, str | None]:
    """The revision of a migration file and its predecessor."""
    values = {
        target.id: node.value.value
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return str(values["revision"]), values["down_revision"]  # type: ignore[return-value]  # a string or None

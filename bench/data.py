"""The data set: three people, their tasks, and fifty buckets of twenty files."""

from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

TASKS = 10_000
TOGGLED = 1_000
BUCKETS = 50
FILES_IN_EACH = 20


class Person(NamedTuple):
    """Somebody with rows; three of them, so that what is written leaves alone what is read."""

    id: UUID
    email: str


READER = Person(UUID(int=1), "reader@example.com")
TOGGLER = Person(UUID(int=2), "toggler@example.com")
MAKER = Person(UUID(int=3), "maker@example.com")

_USER = "INSERT INTO users (id, email, name) VALUES ($1, $2, $2)"
_READ = """
INSERT INTO tasks
    (id, owner_id, title, description, completed, completed_at, created_at, updated_at)
SELECT uuidv7(), $1, 'Task number ' || n,
    CASE WHEN n % 4 > 0 THEN 'Remember the milk, the bread and the elephant.' END,
    n % 3 = 0, CASE WHEN n % 3 = 0 THEN moment END, moment, moment
FROM generate_series(1, $2::int) AS n,
    LATERAL (SELECT timestamptz '2026-01-01Z' + n * interval '61.000001 s') AS moments (moment)
"""
_TOGGLED = """
INSERT INTO tasks (id, owner_id, title)
SELECT uuidv7(), $1, 'To be turned over' FROM generate_series(1, $2::int)
"""
_BUCKETS = """
INSERT INTO buckets (id, owner_id, name, private, file_count, total_size, created_at)
SELECT uuidv7(), $1, 'bucket-' || n, true, $3::int, 1000 * $3::int,
    timestamptz '2026-01-01Z' + n * interval '1 h'
FROM generate_series(1, $2::int) AS n
"""
_FILES = """
INSERT INTO files (id, owner_id, bucket_id, location, size, content_type, desired_replicas)
SELECT uuidv7(), owner_id, buckets.id, 'reports/2026/' || n || '.csv', 1000, 'text/csv', 0
FROM buckets, generate_series(1, $1::int) AS n
"""
# PostGraphile offers tables and functions: without these it could neither make ids nor toggle.
_FOR_POSTGRAPHILE = """
ALTER TABLE tasks ALTER id SET DEFAULT uuidv7();
CREATE FUNCTION toggle_task(id uuid) RETURNS tasks LANGUAGE sql VOLATILE AS $$
    UPDATE tasks SET completed = NOT completed, updated_at = now(), version = version + 1,
        completed_at = CASE WHEN completed THEN NULL ELSE now() END
    WHERE tasks.id = toggle_task.id RETURNING *
$$
"""
_A_TASK = "SELECT id FROM tasks WHERE owner_id = $1 ORDER BY created_at OFFSET 5000"
_TO_TOGGLE = "SELECT id FROM tasks WHERE owner_id = $1"


class DataSet(NamedTuple):
    """The tasks that requests name."""

    read: UUID
    toggled: list[UUID]


async def build(connection: Any) -> DataSet:
    """Fill a migrated, empty database."""
    await connection.executemany(_USER, (READER, TOGGLER, MAKER))
    await connection.execute(_READ, READER.id, TASKS)
    await connection.execute(_TOGGLED, TOGGLER.id, TOGGLED)
    await connection.execute(_BUCKETS, READER.id, BUCKETS, FILES_IN_EACH)
    await connection.execute(_FILES, FILES_IN_EACH)
    await connection.execute(_FOR_POSTGRAPHILE)
    await connection.execute("VACUUM ANALYZE")
    return DataSet(
        read=await connection.fetchval(_A_TASK, READER.id),
        toggled=[found[0] for found in await connection.fetch(_TO_TOGGLE, TOGGLER.id)],
    )


async def tidy(url: str) -> None:
    """Undo what a run wrote, so that the next one meets the same tables."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("DELETE FROM tasks WHERE owner_id = $1", MAKER.id)
        await connection.execute("VACUUM tasks")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()

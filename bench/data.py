"""The data set: a hundred users with tasks; eight have fifty buckets of twenty files."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from tests.fixtures.connected import connected

PEOPLE = [UUID(int=number) for number in range(1, 101)]
WITH_10_000 = PEOPLE[:1]
WITH_1_000 = PEOPLE[:16]
WITH_FILES = PEOPLE[:8]
TOGGLED_OF_EACH = 10
BUCKETS = 50
FILES_IN_EACH = 20
MADE = "Made under load"

_USER = "INSERT INTO users (id, email, name) VALUES ($1::uuid, $1::uuid || '@example.com', 'User')"
_READ = """
INSERT INTO tasks
    (id, owner_id, title, description, completed, completed_at, created_at, updated_at)
SELECT uuidv7(), $1, 'Task number ' || n,
    CASE WHEN n % 4 > 0 THEN 'Remember the milk, the bread and the elephant.' END,
    n % 3 = 0, CASE WHEN n % 3 = 0 THEN moment END, moment, moment
FROM generate_series(1, $2::int) AS n,
    LATERAL (SELECT timestamptz '2026-01-01Z' + n * interval '61.000001 s') AS moments (moment)
"""
# Older than what is read, so that no page holds what changes.
_TOGGLED = """
INSERT INTO tasks (id, owner_id, title, created_at)
SELECT uuidv7(), $1, 'To be turned over', timestamptz '2025-01-01Z'
FROM generate_series(1, $2::int)
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
_A_TASK_OF_EACH = """
SELECT DISTINCT ON (owner_id) owner_id, id FROM tasks WHERE created_at > '2026-01-01Z'
"""
_TO_TOGGLE = """
SELECT owner_id, id FROM tasks WHERE created_at < '2026-01-01Z'
ORDER BY row_number() OVER (PARTITION BY owner_id), owner_id
"""


class Owned(NamedTuple):
    """A task that a request refers to."""

    owner: UUID
    task: UUID


class DataSet(NamedTuple):
    """The objects that requests refer to; consecutive ones belong to different users."""

    read: Sequence[Owned]
    toggled: Sequence[Owned]


async def build(connection: Any) -> DataSet:
    """Fill a migrated, empty database."""
    counts = dict.fromkeys(PEOPLE, 50)
    counts |= dict.fromkeys(WITH_1_000, 1_000) | dict.fromkeys(WITH_10_000, 10_000)
    await connection.executemany(_USER, [(person,) for person in PEOPLE])
    await connection.executemany(_READ, counts.items())
    await connection.executemany(_TOGGLED, [(person, TOGGLED_OF_EACH) for person in PEOPLE])
    for person in WITH_FILES:
        await connection.execute(_BUCKETS, person, BUCKETS, FILES_IN_EACH)
    await connection.execute(_FILES, FILES_IN_EACH)
    await connection.execute(_FOR_POSTGRAPHILE)
    await connection.execute("VACUUM ANALYZE")
    return DataSet(
        read=[Owned(*found) for found in await connection.fetch(_A_TASK_OF_EACH)],
        toggled=[Owned(*found) for found in await connection.fetch(_TO_TOGGLE)],
    )


async def tidy(url: str) -> None:
    """Removes what a run created, so that the next one starts with the same tables."""
    async with connected(url) as connection:
        await connection.execute("DELETE FROM tasks WHERE title = $1", MADE)
        await connection.execute("VACUUM tasks")
        await connection.execute("CHECKPOINT")

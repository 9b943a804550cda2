"""Concurrency, cascades and numbers of statements, in PostgreSQL only."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import text

from db.errors import Conflict, HowdahError, TooLarge
from db.kit.base import OwnerId, new_id
from db.kit.lists.paging import Window
from db.postgres.engine import Database
from db.postgres.statements import compile_change, compile_statement
from db.storage import FileRow, NewBsp, NewFile, Quota
from tests.db.storage.samples import make_bucket, make_file, store_file
from tests.fixtures.database import Statements
from tests.fixtures.people import add_person
from tests.fixtures.repository_storage import RepositoryStorage

DRIFT = compile_statement(
    text(
        """
        SELECT 'bucket' AS what, b.id FROM buckets b LEFT JOIN files f ON f.bucket_id = b.id
        GROUP BY b.id HAVING b.file_count <> count(f.id) OR b.total_size <> coalesce(sum(f.size), 0)
        UNION ALL
        SELECT 'bsp', p.id FROM bsps p LEFT JOIN replicas r ON r.bsp_id = p.id
        GROUP BY p.id HAVING p.used_capacity <> coalesce(sum(r.size), 0)
        UNION ALL
        SELECT 'file', f.id FROM files f LEFT JOIN replicas r ON r.file_id = f.id
        GROUP BY f.id
        HAVING count(r.bsp_id) <> CASE f.status WHEN 'DELETING' THEN 0 ELSE f.desired_replicas END
        """
    )
)
TOTALS = compile_statement(
    text("SELECT sum(file_count)::int, sum(total_size)::bigint FROM buckets")
)
UPLOADS = compile_statement(
    text("SELECT subject_id FROM audit_events WHERE kind = 'FILE_UPLOADED'")
)
A_DAY_AGO = compile_change(
    text("""UPDATE files SET created_at = created_at - interval '24 hours',
        replacement_created_at = replacement_created_at - interval '24 hours'""")
)
REMOVE_PERSON = compile_change(text("DELETE FROM users WHERE id = :id"))


async def drift(database: Database) -> Any:
    async with database.read() as session:
        return await session.rows(DRIFT)


async def outcomes(*calls: Awaitable[Any]) -> list[Any]:
    """The results and the errors of Howdah; any other exception is raised."""
    found = await asyncio.gather(*calls, return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException) and not isinstance(one, HowdahError):
            raise one
    return found


async def test_counters_are_exact_after_fifty_concurrent_writers(
    committed: Database, committed_owner: OwnerId
) -> None:
    owner, storage = committed_owner, RepositoryStorage(committed)
    for number in range(3):
        await storage.create_bsp(owner, NewBsp(f"{number}", 100_000, []))
    buckets = [await storage.create_bucket(owner, f"{one}", private=True) for one in range(2)]
    dice = random.Random(4)  # noqa: S311 - test data, the same in each run

    async def write(number: int) -> None:
        bucket = buckets[number % 2]
        for step in range(4):
            new = NewFile(bucket.id, f"{number}/{step}", dice.randrange(1_000), None, number % 3)
            file = await storage.create_file(owner, new)
            if step % 2:
                await storage.begin_deletion(owner, file.id)

    await asyncio.gather(*(write(number) for number in range(50)))
    assert await drift(committed) == []
    async with committed.read() as session:
        ((files, size),) = await session.rows(TOTALS)
    page = await storage.files(owner, Window(1_000))
    assert files == len(page.rows) == 100
    assert size == sum(file.size for file in page.rows)


async def test_placement_under_concurrency_fills_providers_exactly(
    committed: Database, committed_owner: OwnerId
) -> None:
    """Forty concurrent requests for the space of ten, in buckets of different owners."""
    storage = RepositoryStorage(committed)
    for number in range(2):
        await storage.create_bsp(committed_owner, NewBsp(f"{number}", 50, []))
    people = [committed_owner, *[await add_person(committed, f"p{one}") for one in range(3)]]
    buckets = [await storage.create_bucket(one, "b", private=True) for one in people]
    answers = await outcomes(
        *(
            storage.create_file(
                people[one % 4], NewFile(buckets[one % 4].id, f"{one}", 10, None, 1)
            )
            for one in range(40)
        )
    )
    assert sum(isinstance(one, FileRow) for one in answers) == 10
    assert sum(isinstance(one, Conflict) for one in answers) == 30
    assert await drift(committed) == []
    bsps = await storage.bsps(committed_owner, Window(9))
    assert [bsp.free_capacity for bsp in bsps.rows] == [0, 0]


async def test_quota_holds_under_concurrency_in_different_buckets(
    committed: Database, committed_owner: OwnerId
) -> None:
    storage = RepositoryStorage(committed, quota=Quota(bytes=100, files=100))
    buckets = [
        await storage.create_bucket(committed_owner, f"{one}", private=True) for one in range(4)
    ]
    answers = await outcomes(
        *(
            storage.create_file(committed_owner, NewFile(buckets[one % 4].id, f"{one}", 10))
            for one in range(20)
        )
    )
    assert sum(isinstance(one, FileRow) for one in answers) == 10
    assert sum(isinstance(one, TooLarge) for one in answers) == 10


async def test_concurrent_creates_and_deletes_keep_counters_exact_without_deadlocks(
    committed: Database, committed_owner: OwnerId, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="db.postgres.engine")
    owner, storage = committed_owner, RepositoryStorage(committed)
    for number in range(4):
        await storage.create_bsp(owner, NewBsp(f"{number}", 10_000, []))
    buckets = [await storage.create_bucket(owner, f"{one}", private=True) for one in range(3)]
    files = [
        await storage.create_file(owner, NewFile(bucket.id, f"{one}", 10 + one, None, 3))
        for bucket in buckets
        for one in range(8)
    ]
    calls: list[Awaitable[Any]] = [storage.begin_deletion(owner, file.id) for file in files]
    calls += [storage.begin_deletion(owner, file.id) for file in files[::2]]
    calls += [storage.delete_bucket(owner, buckets[0].id, with_files=True, limit=10)]
    calls += [
        storage.create_file(owner, NewFile(bucket.id, f"new {one}", 7, None, 2))
        for bucket in buckets
        for one in range(8)
    ]
    calls += [
        storage.finish_upload(file, object_id=new_id(), fingerprint=bytes(32)) for file in files
    ]
    random.Random(7).shuffle(calls)  # noqa: S311 - the same order in each run
    await outcomes(*calls)
    assert await drift(committed) == []
    assert "retrying a transaction" not in caplog.text


async def test_finish_upload_under_concurrency_stores_one_upload(
    committed: Database, committed_owner: OwnerId
) -> None:
    storage = RepositoryStorage(committed)
    bucket = await storage.create_bucket(committed_owner, "b", private=True)
    file = await storage.create_file(committed_owner, NewFile(bucket.id, "a", 1))
    answers = await outcomes(
        *(
            storage.finish_upload(file, object_id=new_id(), fingerprint=bytes([one]) * 32)
            for one in range(6)
        )
    )
    stored = [one for one in answers if isinstance(one, FileRow)]
    assert len(stored) == 1
    assert await storage.known_files([file.id]) == stored


async def test_removing_a_user_frees_the_space_of_providers(
    database: Database, owner: OwnerId, other_owner: OwnerId
) -> None:
    storage = RepositoryStorage(database)
    for number in range(2):
        await storage.create_bsp(owner, NewBsp(f"{number}", 1_000, []))
    for person in (owner, other_owner):
        bucket = await storage.create_bucket(person, "b", private=True)
        for number in range(3):
            await storage.create_file(person, NewFile(bucket.id, f"{number}", 10, None, 2))
    await storage.begin_deletion(owner, (await storage.files(owner, Window(1))).rows[0].id)
    await database.write(lambda session: session.rows(REMOVE_PERSON, id=owner))
    assert await drift(database) == []
    bsps = await storage.bsps(other_owner, Window(9))
    assert [bsp.used_capacity for bsp in bsps.rows] == [30, 30]


async def test_foreign_key_rejects_a_file_in_the_bucket_of_another_user(
    database: Database, owner: OwnerId, other_owner: OwnerId
) -> None:
    storage = RepositoryStorage(database)
    bucket = await storage.create_bucket(other_owner, "b", private=False)
    smuggle = compile_change(
        text(
            "INSERT INTO files (id, owner_id, bucket_id, location, size, content_type,"
            " desired_replicas) VALUES (:id, :owner, :bucket, 'x', 1, 'x/y', 0)"
        )
    )
    with pytest.raises(Exception, match="fk_files_bucket_id_owner_id_buckets"):
        await database.write(
            lambda session: session.rows(smuggle, id=new_id(), owner=owner, bucket=bucket.id)
        )


READS: dict[str, Callable[[RepositoryStorage, OwnerId, list[Any]], Awaitable[Any]]] = {
    "files": lambda storage, owner, ids: storage.files_of_buckets(
        owner, ids, Window(2), under="docs"
    ),
    "counts": lambda storage, owner, ids: storage.count_files_of_buckets(owner, ids, under=None),
    "buckets": lambda storage, owner, ids: storage.buckets_by_id(owner, ids),
    "kept": lambda storage, owner, ids: storage.files_of_bsps(owner, ids, Window(2)),
    "replicas": lambda storage, owner, ids: storage.bsps_of_files(owner, ids),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
async def test_batch_reads_run_one_statement(
    database: Database, owner: OwnerId, statements: Statements, read: Callable[..., Awaitable[Any]]
) -> None:
    with statements.expected(1):
        await read(RepositoryStorage(database), owner, [new_id() for _ in range(50)])


async def test_repeated_upload_is_recorded_once(
    committed: Database, committed_owner: OwnerId
) -> None:
    """As by two replicas that complete the same upload."""
    storage = RepositoryStorage(committed)
    file = await make_file(storage, committed_owner, await make_bucket(storage, committed_owner))
    first, second = await asyncio.gather(store_file(storage, file), store_file(storage, file))
    assert first == second
    async with committed.read() as session:
        assert [row[0] for row in await session.rows(UPLOADS)] == [file.id]


async def test_upload_that_ends_after_a_day_is_not_accepted(
    database: Database, owner: OwnerId
) -> None:
    """The sweep may remove its bytes at any moment."""
    storage = RepositoryStorage(database)
    bucket = await make_bucket(storage, owner)
    stored = await store_file(storage, await make_file(storage, owner, bucket, "stored"))
    file = await make_file(storage, owner, bucket, "late")
    replaced = await storage.begin_replacement(owner, stored.id, size=5)
    assert replaced.replacement_id is not None
    await database.write(lambda session: session.rows(A_DAY_AGO))
    with pytest.raises(Conflict):
        await store_file(storage, file)
    with pytest.raises(Conflict):
        await storage.finish_replacement(
            replaced,
            replacement_id=replaced.replacement_id,
            object_id=new_id(),
            fingerprint=bytes(32),
        )

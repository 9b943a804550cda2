"""Seconds of each storage operation in PostgreSQL and in the in-memory twin, on the same rows.

make bench-twin                      seven interleaved rounds of 200 calls; about half a minute
make bench-twin ARGS="--quick"       small, a smoke test that does not check the goals

Both implement `StorageOperations` (docs/decisions/0013-the-storage-twin.md). Calls run one at a
time, so the times are latencies. PostgreSQL commits without waiting for its disk, as in tests.
"""

import contextlib
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.desk import machine
from bench.verdict import judge
from db.kit.base import OwnerId, new_id
from db.kit.lists.paging import Window
from db.postgres.embedded import EmbeddedPostgres
from db.postgres.engine import open_database
from db.postgres.schema import migrations
from db.storage import BucketRow, FileRow, NewBsp, NewFile, StorageOperations
from db.storage.memory import MemoryStorage
from tests.fixtures.people import add_person
from tests.fixtures.repository_storage import RepositoryStorage

POSTGRES, TWIN = "PostgreSQL", "twin"
GOAL = 2.0
"""The least ratio at which the twin makes unit tests faster than the database does."""
PAGE = Window(50)
FINGERPRINT = bytes(32)


class Size(NamedTuple):
    rounds: int
    calls: int
    files: int
    """Files that exist before the first call, in one bucket."""


FULL = Size(rounds=7, calls=200, files=100)
QUICK = Size(rounds=1, calls=10, files=10)


class Subject:
    """One implementation with its rows, and the files that the current round has created."""

    def __init__(self, storage: StorageOperations, owner: OwnerId, bucket: BucketRow) -> None:
        self.storage = storage
        self.owner = owner
        self.bucket = bucket
        self.files: list[FileRow] = []

    @classmethod
    async def prepared(cls, storage: StorageOperations, owner: OwnerId, files: int) -> "Subject":
        for number in range(3):
            await storage.create_bsp(owner, NewBsp(f"provider {number}", 2**40, []))
        subject = cls(storage, owner, await storage.create_bucket(owner, "bench", private=True))
        for number in range(files):
            await storage.create_file(owner, NewFile(subject.bucket.id, f"old/{number}", 5))
        return subject

    async def create_file(self, number: int) -> None:
        new = NewFile(self.bucket.id, f"new/{number}", 5, "text/plain", 2)
        self.files.append(await self.storage.create_file(self.owner, new))

    async def finish_upload(self, number: int) -> None:
        await self.storage.finish_upload(
            self.files[number], object_id=new_id(), fingerprint=FINGERPRINT
        )

    async def file_by_id(self, number: int) -> None:
        await self.storage.files_by_id(self.owner, [self.files[number].id])

    async def page_of_files(self, _: int) -> None:
        await self.storage.files(self.owner, PAGE)

    async def page_of_folder(self, _: int) -> None:
        await self.storage.files_of_buckets(self.owner, [self.bucket.id], PAGE, under="old")

    async def count_of_bucket(self, _: int) -> None:
        await self.storage.count_files_of_buckets(self.owner, [self.bucket.id], under=None)

    async def replicas_of_file(self, number: int) -> None:
        await self.storage.bsps_of_files(self.owner, [self.files[number].id])

    async def rename_bucket(self, number: int) -> None:
        await self.storage.update_bucket(self.owner, self.bucket.id, name=f"bench {number}")

    async def delete_file(self, number: int) -> None:
        file_id = self.files[number].id
        await self.storage.begin_deletion(self.owner, file_id)
        await self.storage.end_deletion([file_id])


Operation = Callable[[Subject, int], Awaitable[None]]

OPERATIONS: dict[str, Operation] = {
    "create a file with 2 replicas": Subject.create_file,
    "finish an upload": Subject.finish_upload,
    "read a file by ID": Subject.file_by_id,
    "read 50 files": Subject.page_of_files,
    "read 50 files of a folder": Subject.page_of_folder,
    "count the files of a bucket": Subject.count_of_bucket,
    "read the replicas of a file": Subject.replicas_of_file,
    "rename a bucket": Subject.rename_bucket,
    "delete a file": Subject.delete_file,
}
"""In the order of a round: it deletes what it created, so every round finds the same rows."""

Times = dict[str, dict[str, list[float]]]


def main() -> None:
    judge(__doc__, bench, FULL, QUICK)


async def bench(size: Size) -> list[str]:
    """Returns the operations that missed the goal."""
    times: Times = {name: {POSTGRES: [], TWIN: []} for name in OPERATIONS}
    async with open_postgres() as (postgres, storage, owner):
        subjects = {
            POSTGRES: await Subject.prepared(storage, owner, size.files),
            TWIN: await Subject.prepared(MemoryStorage(), OwnerId(new_id()), size.files),
        }
        for number in range(size.rounds + 1):
            for name, operation in OPERATIONS.items():
                for kind, subject in subjects.items():
                    took_s = await time_calls(subject, operation, size.calls)
                    if number:  # the first round warms up: statements are prepared and cached
                        times[name][kind].append(took_s)
            for subject in subjects.values():
                subject.files.clear()
        print(
            f"{machine(postgres)}; {size.files} files, {size.rounds} rounds of {size.calls} calls\n"
        )
    return report(times)


@contextlib.asynccontextmanager
async def open_postgres() -> AsyncIterator[tuple[EmbeddedPostgres, RepositoryStorage, OwnerId]]:
    settings = {"synchronous_commit": "off"}
    with tempfile.TemporaryDirectory() as folder:
        async with await EmbeddedPostgres.open(Path(folder), settings=settings) as postgres:
            await migrations.upgrade(postgres.url)
            database = await open_database(postgres.url)
            try:
                owner = await add_person(database, "Bench")
                yield postgres, RepositoryStorage(database), owner
            finally:
                await database.close()


async def time_calls(subject: Subject, operation: Operation, calls: int) -> float:
    """The median time of a call, in seconds."""
    took_s = []
    for number in range(calls):
        started_at = time.perf_counter()
        await operation(subject, number)
        took_s.append(time.perf_counter() - started_at)
    return statistics.median(took_s)


def report(times: Times) -> list[str]:
    missed = []
    print(f"{'µs, median':32}{POSTGRES:>12}{TWIN:>9}{'ratio':>9}   goal")
    for name, of in times.items():
        ratio = median_ratio(of[POSTGRES], of[TWIN])
        postgres, twin = (statistics.median(of[one]) * 1e6 for one in (POSTGRES, TWIN))
        print(f"{name:32}{postgres:12.0f}{twin:9.0f}{ratio:9.1f}   >= {GOAL}")
        if ratio < GOAL:
            missed.append(name)
    return missed


def median_ratio(slower: Sequence[float], faster: Sequence[float]) -> float:
    """The median over the rounds, each of which compares times of the same moment."""
    return statistics.median(one / other for one, other in zip(slower, faster, strict=True))


if __name__ == "__main__":
    main()

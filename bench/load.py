"""The operations of a list page by 100 concurrent users, one of whom has 10,000 tasks.

make bench-load                    about a minute; let nothing else run meanwhile
make bench-load ARGS="--quick"     few users and tasks, a smoke test that does not check the goals

One `howdah serve` with its embedded PostgreSQL, as `make serve` runs it; the users are in this
process, each on its own connection, and send the next request when they have the response.
"""

import asyncio
import itertools
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from bench.start import serving, wait_for_address
from bench.verdict import judge
from db.postgres.embedded import use_running_server
from db.services import Services, open_services
from db.settings import Settings
from db.tasks import Imports, import_records, parse_legacy_tasks
from db.users import Users
from graph.auth import owner_of_email

GOAL_MS = 100.0
FIELDS = "id title description completed createdAt updatedAt"


class Size(NamedTuple):
    """Numbers of users, tasks and rounds."""

    users: int
    tasks_of_first: int
    tasks_of_others: int
    rounds: int


FULL = Size(users=100, tasks_of_first=10_000, tasks_of_others=100, rounds=30)
QUICK = Size(users=8, tasks_of_first=500, tasks_of_others=20, rounds=3)


@dataclass
class User:
    """One user on one connection."""

    token: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    ids: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    cursor: str = ""

    async def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        self.writer.write(
            b"POST /graphql HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b"
            % (self.token.encode(), len(body), body)
        )
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        return await self.reader.readexactly(length)


class Operation(NamedTuple):
    """One operation of a list page."""

    name: str
    query: str
    variables: Callable[[User], dict[str, Any]] = lambda _: {}


def operations() -> list[Operation]:
    numbers = itertools.count()

    def page(arguments: str, fields: str = f"nodes {{ {FIELDS} }} pageInfo {{ endCursor }}") -> str:
        return f"query($after: String) {{ tasks({arguments}, after: $after) {{ {fields} }} }}"

    def one_of_theirs(user: User) -> dict[str, Any]:
        return {"id": random.choice(user.ids)}

    update = "mutation($id: ID!, $title: String) { updateTask(input: {id: $id, title: $title})"
    return [
        Operation("list 50", page("first: 50")),
        Operation("next page", page("first: 50"), lambda user: {"after": user.cursor}),
        Operation("filter", page("first: 50, filter: {completed: true}")),
        Operation("order by title", page("first: 50, orderBy: {field: TITLE, direction: ASC}")),
        Operation("search", page('first: 50, filter: {search: "number 7"}')),
        Operation("count", page("first: 1", "totalCount")),
        Operation("stats", "{ taskStats { total completed open } }"),
        Operation(
            "create",
            "mutation($title: String!) { createTask(input: {title: $title}) { task { id } } }",
            lambda _: {"title": f"Made under load, number {next(numbers)}"},
        ),
        Operation(
            "update",
            update + " { task { version } } }",
            lambda user: one_of_theirs(user) | {"title": f"Changed under load {next(numbers)}"},
        ),
        Operation(
            "toggle",
            "mutation($id: ID!) { toggleTask(input: {id: $id}) { task { completed } } }",
            one_of_theirs,
        ),
        Operation(
            "delete",
            "mutation($id: ID!) { deleteTask(input: {id: $id}) { deletedTaskId } }",
            lambda user: {"id": user.made.pop()},
        ),
    ]


def main() -> None:
    judge(__doc__, bench, FULL, QUICK)


async def bench(size: Size) -> list[str]:
    """Returns the operations that missed the goal."""
    counts = [size.tasks_of_first, *[size.tasks_of_others] * (size.users - 1)]
    with tempfile.TemporaryDirectory() as name:
        async with server_in(Path(name)) as address:
            tokens = await prepared_users(Path(name), counts)
            async with connected(tokens, address) as users:
                return await measure(users, size)


@asynccontextmanager
async def server_in(folder: Path) -> AsyncIterator[str]:
    """A server as `make serve` runs it, and its address."""
    environment = os.environ | {"HOWDAH_DATA_DIR": str(folder), "HOWDAH_LOG_LEVEL": "warning"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [str(Path(sys.executable).with_name("howdah")), "serve", "--port", "0"]
    with serving(command, environment) as server:
        yield await asyncio.to_thread(wait_for_address, server)


async def prepared_users(folder: Path, counts: Sequence[int]) -> list[str]:
    """Creates users, each with a number of tasks; returns their tokens."""
    settings = use_running_server(Settings(data_dir=folder))
    async with open_services(settings) as services:
        return [await prepared(services, number, count) for number, count in enumerate(counts)]


async def prepared(services: Services, number: int, count: int) -> str:
    """Creates a user with tasks; returns the token."""
    email = f"user{number}@example.com"
    user = await services.database.write(
        lambda session: Users(session).add(email=email, name="User", password_hash=None)
    )
    owner = await owner_of_email(services, email)
    async for _ in import_records(
        lambda work: services.database.transaction(lambda session: work(Imports(session, owner))),
        parse_legacy_tasks(old_records(count)),
    ):
        pass
    return await services.identity.issue(user)


def old_records(count: int) -> Iterator[str]:
    for number in range(count):
        record = {
            "title": f"Task number {number}",
            "description": "Remember the milk, the bread and the elephant.",
            "completed": number % 3 == 0,
            "created_at": 1_700_000_000 + number * 60,
        }
        yield ("," if number else "[") + json.dumps(record)
    yield "]"


@asynccontextmanager
async def connected(tokens: list[str], address: str) -> AsyncIterator[list[User]]:
    async with AsyncExitStack() as stack:
        users = []
        for token in tokens:
            place = urlsplit(address)
            reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=2**20)
            stack.callback(writer.close)
            users.append(User(token, reader, writer))
        for user in users:
            page = json.loads(
                await user.ask("{ tasks(first: 50) { nodes { id } pageInfo { endCursor } } }")
            )["data"]["tasks"]
            user.ids = [node["id"] for node in page["nodes"]]
            user.cursor = page["pageInfo"]["endCursor"]
        yield users


async def measure(users: list[User], size: Size) -> list[str]:
    print(
        f"{size.users} concurrent users, one with {size.tasks_of_first:,} tasks, the others with "
        f"{size.tasks_of_others}; {size.rounds} rounds each\n"
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start\n\n"
        f"{'ms':16}{'p50':>8}{'p95':>8}{'p99':>8}{'p95 of the 10,000':>20}{'req/s':>8}"
    )
    missed = []
    for operation in operations():
        started_at = time.perf_counter()
        times = await asyncio.gather(*(repeat(user, operation, size.rounds) for user in users))
        elapsed_s = time.perf_counter() - started_at
        everyone = percentiles([ms for per_user in times for ms in per_user])
        largest = percentiles(times[0])
        rate = size.users * (size.rounds + 1) / elapsed_s
        print(
            f"{operation.name:16}{everyone[50]:8.1f}{everyone[95]:8.1f}{everyone[99]:8.1f}"
            f"{largest[95]:20.1f}{rate:8.0f}"
        )
        if max(everyone[95], largest[95]) >= GOAL_MS:
            missed.append(operation.name)
    print(f"\ngoal: every p95 < {GOAL_MS:.0f} ms; " + (f"missed by {missed}" if missed else "met"))
    return missed


async def repeat(user: User, operation: Operation, rounds: int) -> list[float]:
    """Milliseconds of each round, after one untimed round."""
    times = []
    for number in range(rounds + 1):
        variables = operation.variables(user)
        started_at = time.perf_counter()
        answer = await user.ask(operation.query, **variables)
        if number:
            times.append((time.perf_counter() - started_at) * 1000)
        assert b'"errors"' not in answer, answer
        if operation.name == "create":
            user.made.append(json.loads(answer)["data"]["createTask"]["task"]["id"])
    return times


def percentiles(times: list[float]) -> dict[int, float]:
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return {percent: cuts[percent - 1] for percent in (50, 95, 99)}


if __name__ == "__main__":
    main()

"""The operations that are measured, in the schema of each server, and their goals."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from bench.data import (
    BUCKETS,
    FILES_IN_EACH,
    MADE,
    PEOPLE,
    WITH_1_000,
    WITH_10_000,
    WITH_FILES,
    DataSet,
    Owned,
)

FIELDS = "title description completed createdAt updatedAt"
OF_FILE = "location size contentType createdAt"
MINE = "condition: {ownerId: $owner}, orderBy: [CREATED_AT_DESC, ROW_ID_DESC]"


class Goals(NamedTuple):
    """Minimum ratios of requests per second; 1 means equally fast."""

    limit: float
    postgraphile: float


SMALL = Goals(limit=1.0, postgraphile=2.3)
PAGE = Goals(limit=0.95, postgraphile=2.5)
ALONE = Goals(limit=0.7, postgraphile=1.5)
LARGE = Goals(limit=0.95, postgraphile=2.5)
TREE = Goals(limit=0.9, postgraphile=2.0)
CHANGE = Goals(limit=1.0, postgraphile=2.0)


class Asked(NamedTuple):
    """The user of a request and its variables."""

    owner: UUID
    variables: dict[str, Any]


class Case(NamedTuple):
    """One operation."""

    name: str
    connections: int
    goals: Goals
    path: str
    """Path of the operation on the limit server."""
    ours: str
    postgraphile: str
    asked: Sequence[Asked]
    """Requests in the order in which they are sent; consecutive ones are of different users."""
    changes: bool = False
    """Whether it is a change: IDs and times differ from response to response."""

    @property
    def small(self) -> bool:
        """Whether its p99 must be below that of PostGraphile."""
        return self.path in {"/task", "/create", "/toggle"}

    @property
    def slow(self) -> bool:
        return bool(self.asked[0].variables.get("first", 0) >= 10_000)

    @property
    def gathers(self) -> bool:
        """Whether the limit has a form with gathering."""
        return self.small and self.connections > 1


def cases(data: DataSet) -> list[Case]:
    one = _task(data.read)
    page = _page("page of 50 tasks", 50, PEOPLE, connections=16, goals=PAGE)
    return [
        one,
        one._replace(name="one task by id, alone", connections=1, goals=ALONE),
        page,
        page._replace(name="page of 50 tasks, alone", connections=1, goals=ALONE),
        _page("1,000 tasks", 1_000, WITH_1_000, connections=8, goals=LARGE),
        _page("10,000 tasks", 10_000, WITH_10_000, connections=1, goals=LARGE),
        _files(),
        _create(),
        _toggle(data.toggled),
    ]


def with_fields(page: Case, count: int) -> Case:
    """Pages of 100 tasks with `count` fields, repeated under aliases. The limit knows no fields."""
    names = itertools.islice(itertools.cycle(FIELDS.split()), count)
    fields = " ".join(f"f{number}: {name}" for number, name in enumerate(names))
    return page._replace(
        name=f"100 tasks with {count} fields",
        connections=4,
        ours=page.ours.replace(f"id {FIELDS}", fields),
        postgraphile=page.postgraphile.replace(f"id: rowId {FIELDS}", fields),
        asked=[one._replace(variables={"first": 100}) for one in page.asked],
    )


def _task(tasks: Sequence[Owned]) -> Case:
    return Case(
        name="one task by id",
        connections=100,
        goals=SMALL,
        path="/task",
        ours=f"query($id: ID!) {{ task(id: $id) {{ id {FIELDS} }} }}",
        postgraphile=(
            f"query($id: UUID!) {{ task: taskByRowId(rowId: $id) {{ id: rowId {FIELDS} }} }}"
        ),
        asked=[Asked(owner, {"id": task}) for owner, task in tasks],
    )


def _page(name: str, size: int, people: Sequence[UUID], *, connections: int, goals: Goals) -> Case:
    return Case(
        name=name,
        connections=connections,
        goals=goals,
        path="/tasks",
        ours=f"query($first: Int!) {{ tasks(first: $first) {{ nodes {{ id {FIELDS} }} }} }}",
        postgraphile=(
            f"query($owner: UUID!, $first: Int!) {{ tasks: allTasks(first: $first, {MINE})"
            f" {{ nodes {{ id: rowId {FIELDS} }} }} }}"
        ),
        asked=[Asked(person, {"first": size}) for person in people],
    )


def _files() -> Case:
    return Case(
        name=f"{BUCKETS} buckets x {FILES_IN_EACH} files",
        connections=8,
        goals=TREE,
        path="/buckets",
        ours=(
            "query($buckets: Int!, $files: Int!) { buckets(first: $buckets) { nodes { id name"
            f" files(first: $files) {{ nodes {{ id {OF_FILE} }} }} }} }} }}"
        ),
        postgraphile=(
            "query($owner: UUID!, $buckets: Int!, $files: Int!) {"
            f" buckets: allBuckets(first: $buckets, {MINE}) {{ nodes {{ id: rowId name"
            " files: filesByBucketIdAndOwnerId(first: $files, orderBy: [LOCATION_ASC])"
            f" {{ nodes {{ id: rowId {OF_FILE} }} }} }} }} }}"
        ),
        asked=[
            Asked(person, {"buckets": BUCKETS, "files": FILES_IN_EACH}) for person in WITH_FILES
        ],
    )


def _create() -> Case:
    return Case(
        name="create a task",
        connections=100,
        goals=CHANGE,
        path="/create",
        ours=(
            "mutation($title: String!) { createTask(input: {title: $title})"
            f" {{ task {{ id {FIELDS} }} }} }}"
        ),
        postgraphile=(
            "mutation($owner: UUID!, $title: String!) {"
            " createTask(input: {task: {title: $title, ownerId: $owner}})"
            f" {{ task {{ id: rowId {FIELDS} }} }} }}"
        ),
        asked=[Asked(person, {"title": MADE}) for person in PEOPLE],
        changes=True,
    )


def _toggle(tasks: Sequence[Owned]) -> Case:
    return Case(
        name="toggle a task",
        connections=100,
        goals=CHANGE,
        path="/toggle",
        ours=(
            f"mutation($id: ID!) {{ toggleTask(input: {{id: $id}}) {{ task {{ id {FIELDS} }} }} }}"
        ),
        postgraphile=(
            "mutation($id: UUID!) { toggleTask(input: {id: $id})"
            f" {{ task: result {{ id: rowId {FIELDS} }} }} }}"
        ),
        asked=[Asked(owner, {"id": task}) for owner, task in tasks],
        changes=True,
    )

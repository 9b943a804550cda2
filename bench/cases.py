"""The measured operations, in the form of each server, with their goals."""

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


SMALL = Goals(limit=0.8, postgraphile=2.5)
SMALL_ALONE = Goals(limit=0.8, postgraphile=1.2)
LARGE = Goals(limit=0.9, postgraphile=2.5)
LARGE_ALONE = Goals(limit=0.9, postgraphile=1.2)
CHANGE = Goals(limit=0.8, postgraphile=2.0)


class Asked(NamedTuple):
    """The user and the variables of a request."""

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
    """Requests to send in a cycle, so that no user has many at the same time."""
    changes: bool = False
    """If true, IDs and times differ between the answers."""

    @property
    def small(self) -> bool:
        """If true, the p99 has a goal."""
        return self.connections == 100


def cases(data: DataSet) -> list[Case]:
    one = _task(data.read)
    page = _page("page of 50 tasks", 50, PEOPLE, connections=16, goals=SMALL)
    return [
        one,
        one._replace(name="one task by id, alone", connections=1, goals=SMALL_ALONE),
        page,
        page._replace(name="page of 50 tasks, alone", connections=1, goals=SMALL_ALONE),
        _page("1,000 tasks", 1_000, WITH_1_000, connections=8, goals=LARGE),
        _page("10,000 tasks", 10_000, WITH_10_000, connections=1, goals=LARGE_ALONE),
        _files(),
        _create(),
        _toggle(data.toggled),
    ]


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
        goals=LARGE,
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

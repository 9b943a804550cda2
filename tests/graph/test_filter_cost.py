"""No filter or order of a list reads more than a few blocks. The cases come from the schema.

A new field of a filter needs a sample here; a new value of an order needs nothing.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
)

from db.postgres import engine, leases
from db.postgres.engine import Database
from db.postgres.leases import Lease
from graph.kit.ids import id_of
from graph.schema import schema
from tests.fixtures.clients import Client
from tests.fixtures.database import leased

core: GraphQLSchema = schema._schema
PAGING = {"first", "after", "last", "before"}
ORDER = ("field", "direction")

MOST_BLOCKS = 200
"""For a page of 50. Each index that is read costs 3 or 4 blocks, each row one at worst."""

HINT = (
    "Add an index that starts with `owner_id` and the column of the filter, in the table and a "
    "migration. If none helps: read by `Context.search`, and name the filter in ACCEPTED with a "
    "bound and the reason. FILL must insert rows of a new table, or the filter reads an empty one."
)

SAMPLES: dict[str, list[str]] = {
    "Query.tasks(filter.completed)": ["true", "false"],
    "Query.tasks(filter.search)": ['"needle"'],
    "Query.tasks(filter.createdAfter)": ['"2026-01-05T00:00:00Z"'],
    "Query.tasks(filter.createdBefore)": ['"2026-01-05T00:00:00Z"'],
    "Query.queryRuns(connectionId)": ["$CONNECTION"],
    "Query.queryRuns(states)": ["[SUCCEEDED]", "[FAILED]", "[QUEUED, RUNNING]"],
    "Query.queryRuns(search)": ['"needle"'],
    "Query.sessions(open)": ["true", "false"],
    "Query.savedQueries(folder)": ['"folder"', '""'],
    "Query.savedQueries(search)": ['"needle"'],
    "Query.savedQueryFolders(under)": ['"folder"', "null"],
    "Bucket.files(under)": ['"folder"'],
    "Bucket.files(recursive)": ["true", "false"],
    "Bucket.folders(under)": ['"folder"', "null"],
    "Query.users(search)": ['"needle"'],
    "Query.auditEvents(filter.kinds)": ["[FILE_DOWNLOADED]", "[SIGN_IN]", "[BSP_DELETED]"],
    "Query.auditEvents(filter.outcome)": ["SUCCEEDED", "FAILED"],
    "Query.auditEvents(filter.userId)": ["$ADA", "$BOB"],
    "Query.auditEvents(filter.actorId)": ["$ADA", "$BOB"],
    "Query.auditEvents(filter.requestId)": ['"r100"', '"none"'],
    "Query.auditEvents(filter.createdAfter)": ['"2026-01-05T00:00:00Z"'],
    "Query.auditEvents(filter.createdBefore)": ['"2026-01-05T00:00:00Z"'],
}
"""GraphQL literals for each field of a filter; `$NAME` is an ID that `fill` has made."""

_NOT_BY_TITLE = "an index for each order and each time would cost every change of a task"
ACCEPTED: dict[str, tuple[int, str]] = {
    "Query.tasks(filter.createdAfter)": (2_000, _NOT_BY_TITLE),
    "Query.tasks(filter.createdBefore)": (2_000, _NOT_BY_TITLE),
    "Bucket.folders(under)": (
        300,
        "one descent of the index for each folder, however many files it contains",
    ),
    **{
        f"Query.auditEvents(filter.{name})": (
            2_000,
            "`Context.search`: one at a time; an index for each would cost every act",
        )
        for name in ("kinds", "outcome", "actorId", "requestId")
    },
    "Query.savedQueryFolders(under)": (
        1_000,
        "`Context.search`: one at a time; it reads the index of all folders, and a quota limits it",
    ),
    "Query.queryRuns(search)": (
        1_000,
        "`Context.search`: one at a time; retention limits the runs",
    ),
}
"""Filters that may read more blocks, with the reason."""


ELSEWHERE = {"DatabaseConnection.schemas"}
"""Lists that read a user's database."""


class Case(NamedTuple):
    path: str
    """`Type.field` of the list."""
    filter: str | None = None
    """The key in `SAMPLES`."""
    given: str = ""
    """The argument with its sample."""
    order: str = ""


def lists(core: GraphQLSchema) -> Iterator[tuple[str, dict[str, Any]]]:
    """`Type.field` of each paged list, with its arguments other than those of paging."""
    for kind in core.type_map.values():
        if isinstance(kind, GraphQLObjectType):
            for name, field in kind.fields.items():
                if f"{kind.name}.{name}" in ELSEWHERE:
                    continue
                if "edges" in getattr(get_named_type(field.type), "fields", {}):
                    arguments = {n: a.type for n, a in field.args.items() if n not in PAGING}
                    if arguments or kind is core.query_type:
                        yield f"{kind.name}.{name}", arguments


def is_order(kind: Any) -> bool:
    return isinstance(kind, GraphQLInputObjectType) and kind.fields.keys() >= {*ORDER}


def filter_fields(arguments: Mapping[str, Any]) -> Iterator[str]:
    for name, kind in arguments.items():
        named = get_named_type(kind)
        if isinstance(named, GraphQLInputObjectType):
            if not is_order(named):
                yield from (f"{name}.{field}" for field in named.fields)
        else:
            yield name


def orders(arguments: Mapping[str, Any]) -> list[str]:
    found = [""]
    for name, kind in arguments.items():
        named = get_named_type(kind)
        if is_order(named):
            values = [get_named_type(named.fields[part].type).values for part in ORDER]
            found += [
                f"{name}: {{field: {field}, direction: {direction}}}"
                for field, direction in itertools.product(*values)
            ]
    return found


def missing_samples(core: GraphQLSchema, samples: Mapping[str, Sequence[str]]) -> list[str]:
    wanted = {f"{path}({field})" for path, taken in lists(core) for field in filter_fields(taken)}
    return [
        f"add a sample for {name} to SAMPLES" for name in sorted(wanted) if not samples.get(name)
    ] + [f"remove the sample for {name}" for name in sorted(samples.keys() - wanted)]


def cases() -> Iterator[Case]:
    for path, arguments in lists(core):
        filters = [Case(path)]
        for field in filter_fields(arguments):
            outer, _, inner = field.partition(".")
            form = "{}: {{{}: {}}}" if inner else "{}: {}{}"
            key = f"{path}({field})"
            filters += (Case(path, key, form.format(outer, inner, value)) for value in SAMPLES[key])
        for case, order in itertools.product(filters, orders(arguments)):
            yield case._replace(order=order)


def document(case: Case, ids: Mapping[str, str]) -> str:
    kind, _, field = case.path.partition(".")
    given = ", ".join(("first: 50", *filter(None, (case.given, case.order))))
    for name, value in ids.items():
        given = given.replace(f"${name}", f'"{value}"')
    listed = f"{field}({given}) {{ edges {{ node {{ __typename }} }} pageInfo {{ hasNextPage }} }}"
    if kind == "Query":
        return f"{{ {listed} }}"
    return f'{{ node(id: "{ids[kind.upper()]}") {{ ... on {kind} {{ {listed} }} }} }}'


@pytest.fixture
def database(committed: Database) -> Database:
    """Committed rows: an uncommitted VACUUM ANALYZE does not exist."""
    return committed


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The blocks that each statement of a read session reads, by EXPLAIN before it runs."""
    read: list[int] = []
    fetch = leases.fetch_on

    async def explain(lease: Lease, sql: str, arguments: Sequence[Any], observe: Any) -> Any:
        if sql.startswith("SELECT"):
            plan = await lease.driver.fetchval(
                f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", *arguments
            )
            top = plan[0]["Plan"]
            read.append(top["Shared Hit Blocks"] + top["Shared Read Blocks"])
        return await fetch(lease, sql, arguments, observe)

    monkeypatch.setattr(engine, "fetch_on", explain)
    return read


async def test_filter_page_reads_few_blocks(
    ada: Client, bob: Client, admin: Client, database: Database, blocks: list[int]
) -> None:
    assert not missing_samples(core, SAMPLES), missing_samples(core, SAMPLES)
    ids = await fill(database, ada, bob)
    too_many = []
    for case in cases():
        blocks.clear()
        client = admin if case.path == "Query.users" else ada
        answer = await client.send(document(case, ids))
        assert not answer.errors, f"{case}: {answer.errors}"
        assert blocks, f"{case} ran no statement"
        most, _ = ACCEPTED.get(case.filter or "", (MOST_BLOCKS, ""))
        if sum(blocks) > most:
            too_many.append(f"{case}: {sum(blocks)} blocks, at most {most}")
    assert not too_many, "\n".join((*too_many, HINT))


def test_filter_field_without_a_sample_is_caught() -> None:
    name = "Query.tasks(filter.completed)"
    fewer = {key: value for key, value in SAMPLES.items() if key != name}
    assert missing_samples(core, fewer) == [f"add a sample for {name} to SAMPLES"]
    assert missing_samples(core, SAMPLES | {name: []}) == [f"add a sample for {name} to SAMPLES"]
    assert missing_samples(core, SAMPLES | {"Query.gone(x)": ["1"]}) == [
        "remove the sample for Query.gone(x)"
    ]


def test_cases_cover_each_order_in_both_directions() -> None:
    found = {case.order for case in cases() if case.path == "Query.tasks"}
    kind = core.type_map["TaskOrderField"]
    assert isinstance(kind, GraphQLEnumType)
    assert len(found) == 1 + 2 * len(kind.values)


async def fill(database: Database, one: Client, other: Client) -> dict[str, str]:
    """10,000 rows of each list for two users. One in 200 has the needle, one in 100 is rare."""
    users = [client.user.id for client in (one, other) if client.user is not None]
    async with leased(database._source) as lease:
        for user in users:
            for sql in FILL:
                await lease.driver.execute(sql, user)
        await lease.driver.execute("VACUUM ANALYZE")
        bucket, connection = [
            await lease.driver.fetchval(first, users[0]) for first in (BUCKET, CONNECTION)
        ]
    return {
        "BUCKET": id_of("bucket", bucket),
        "CONNECTION": id_of("conn", connection),
        "ADA": id_of("user", users[0]),
        "BOB": id_of("user", users[1]),
    }


BUCKET = "SELECT bucket_id FROM files WHERE owner_id = $1 LIMIT 1"
CONNECTION = "SELECT id FROM database_connections WHERE owner_id = $1 LIMIT 1"
FILL = (
    """
    INSERT INTO tasks (id, owner_id, title, completed, created_at, updated_at)
    SELECT gen_random_uuid(), $1, CASE WHEN n % 200 = 0 THEN 'needle ' ELSE 'straw ' END || n,
           n % 100 = 0, timestamptz '2026-01-01Z' + n * interval '1 minute',
           timestamptz '2026-02-01Z' + (n * 7919 % 10000) * interval '1 minute'
    FROM generate_series(1, 10000) AS n
    """,
    """
    INSERT INTO database_connections
        (id, owner_id, name, host, port, database, username, ssl_mode, read_only)
    SELECT gen_random_uuid(), $1, 'c' || n, 'localhost', 5432, 'd', 'u', 'PREFER', false
    FROM generate_series(1, 20) AS n
    """,
    """
    INSERT INTO query_runs (id, owner_id, connection_id, statement, parameters, read_only,
                            timeout_ms, max_rows, max_bytes, state, created_at, finished_at,
                            process)
    SELECT gen_random_uuid(), $1,
           (SELECT id FROM database_connections WHERE owner_id = $1 AND name = 'c' || (n % 20 + 1)),
           CASE WHEN n % 200 = 0 THEN 'SELECT needle ' ELSE 'SELECT ' END || n, '[]', true,
           1000, 1000, 1000, CASE WHEN n % 100 = 0 THEN 'FAILED' ELSE 'SUCCEEDED' END,
           timestamptz '2026-01-01Z' + n * interval '1 minute', now(), 1
    FROM generate_series(1, 10000) AS n
    """,
    """
    INSERT INTO saved_queries (id, owner_id, name, folder, text, parameters, created_at, updated_at)
    SELECT gen_random_uuid(), $1, 'q' || n,
           CASE WHEN n % 2 = 0 THEN 'folder/' || n % 200 WHEN n % 100 = 1 THEN 'folder' ELSE '' END,
           CASE WHEN n % 200 = 0 THEN 'SELECT needle' ELSE 'SELECT straw' END, '[]',
           timestamptz '2026-01-01Z' + n * interval '1 minute',
           timestamptz '2026-02-01Z' + (n * 7919 % 10000) * interval '1 minute'
    FROM generate_series(1, 10000) AS n
    """,
    """
    INSERT INTO database_sessions (id, owner_id, name, autocommit, read_only, idle_timeout_ms,
                                   transaction_timeout_ms, process, state, opened_at, closed_at,
                                   close_reason)
    SELECT gen_random_uuid(), $1, 's' || n, true, false, 1000, 1000, 1,
           CASE WHEN n % 1000 = 0 THEN 'IDLE' ELSE 'CLOSED' END,
           timestamptz '2026-01-01Z' + n * interval '1 minute',
           CASE WHEN n % 1000 > 0 THEN now() END, CASE WHEN n % 1000 > 0 THEN 'CLIENT' END
    FROM generate_series(1, 10000) AS n
    """,
    """
    INSERT INTO buckets (id, owner_id, name, private, created_at)
    SELECT gen_random_uuid(), $1, 'b' || n, n % 10 > 0,
           timestamptz '2026-01-01Z' + n * interval '1 h'
    FROM generate_series(1, 1000) AS n
    """,
    """
    INSERT INTO files (id, owner_id, bucket_id, location, size, content_type, desired_replicas)
    SELECT gen_random_uuid(), $1, id,
           CASE WHEN n % 2 = 0 THEN 'folder/' || n % 200 || '/' ELSE '' END || n, 1, 'text/csv', 0
    FROM (SELECT min(id::text)::uuid AS id FROM buckets WHERE owner_id = $1) AS first,
         generate_series(1, 10000) AS n
    """,
    """
    INSERT INTO audit_events (id, owner_id, created_at, kind, outcome, actor_id, request_id,
                              address, subject_name, details)
    SELECT gen_random_uuid(), $1, timestamptz '2026-01-01Z' + n * interval '1 minute',
           CASE WHEN n % 100 = 0 THEN 'SIGN_IN' ELSE 'FILE_DOWNLOADED' END,
           CASE WHEN n % 100 = 0 THEN 'FAILED' ELSE 'SUCCEEDED' END, $1, 'r' || n, '', '', '{}'
    FROM generate_series(1, 10000) AS n
    """,
)

"""What an access token for programs may do, with each scope. Finds every root field in the schema.

A new field follows its domain (graph.kit.scopes). One that does not needs a line here.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import strawberry

from db.users import AccessTokenScope
from db.users.access_tokens import granted_scopes
from graph.auth import AdminOnly, Anyone, SignedIn
from graph.kit import fields as kit
from graph.kit.fields import SCOPES, WHO
from graph.kit.scopes import TASKS, resolve_scopes
from tests.fixtures.clients import Client, Response
from tests.fixtures.factories import FACTORIES, IN_TARGET, SHARED, create_access_token, missing_id
from tests.graph.test_autocommit import walk
from tests.graph.test_ownership import DOORS, Door, Path, knock, prefixes

AREAS = {
    "graph.audit": "ADMIN",
    "graph.tasks": "TASKS",
    "graph.storage": "STORAGE",
    "graph.connections": "WORKBENCH",
    "graph.runs": "WORKBENCH",
    "graph.saved_queries": "WORKBENCH",
    "graph.scripts": "WORKBENCH",
}
"""The area of a domain. Fields of other domains admit sessions only, unless they are for admins."""

ANY_TOKEN = {"health", "node", "nodes", "viewer"}
SESSIONS_ONLY = {"createPasswordReset"}
"""Fields for admins that would otherwise be in the area ADMIN."""
SPECIAL = {
    "cancelQuery": {"WORKBENCH_READ_ONLY"},
    "cancelScript": {"WORKBENCH_READ_ONLY"},
    "connect": {"WORKBENCH_READ_ONLY"},
    "disconnect": {"WORKBENCH_READ_ONLY"},
    "refreshCatalogue": {"WORKBENCH_READ_ONLY"},
    "closeSession": {"WORKBENCH_READ_ONLY"},
    "commitTransaction": {"WORKBENCH_READ_ONLY"},
    "executeQuery": {"WORKBENCH_READ_ONLY"},
    "executeScript": {"WORKBENCH_READ_ONLY"},
    "openSession": {"WORKBENCH_READ_ONLY"},
    "rollbackTransaction": {"WORKBENCH_READ_ONLY"},
    "explainQuery": {"WORKBENCH_READ_ONLY"},
    "exportQueryRun": {"WORKBENCH_READ", "STORAGE_WRITE"},
    "importRows": {"WORKBENCH_WRITE", "STORAGE_READ"},
}
READS = {
    "bucket": "STORAGE_READ",
    "conn": "WORKBENCH_READ",
    "file": "STORAGE_READ",
    "preference": "WORKBENCH_READ",
    "query": "WORKBENCH_READ",
    "run": "WORKBENCH_READ",
    "script": "WORKBENCH_READ",
    "session": "WORKBENCH_READ",
    "task": "TASKS_READ",
}
"""The scope that reads a node, by the prefix of its ID. Sessions alone read the others."""
FIELDS = [door for root in ("query", "mutation", "subscription") for door in walk(root)]


def declared(door: Door) -> Any:
    return door.definition.extensions["strawberry-definition"]


def expected(door: Door) -> set[str] | None:
    """The scopes that a field needs; None if it admits sessions only."""
    if door.field in ANY_TOKEN:
        return set()
    if door.field in SPECIAL:
        return SPECIAL[door.field]
    suffix = "WRITE" if door.root == "mutation" else "READ"
    field = declared(door)
    if field.metadata[WHO] is AdminOnly and door.field not in SESSIONS_ONLY:
        return {f"ADMIN_{suffix}"}
    module = field.base_resolver.wrapped_func.__module__
    domain = ".".join(module.split(".")[:2])
    area = AREAS.get(domain)
    return {f"{area}_{suffix}"} if area and field.metadata[WHO] is not AdminOnly else None


@pytest.mark.parametrize("door", FIELDS, ids=lambda door: door.field)
def test_root_field_requires_scopes_of_its_domain(door: Door) -> None:
    required = declared(door).metadata[SCOPES]
    assert (None if required is None else set(required)) == expected(door)


def test_exceptions_of_scopes_are_root_fields() -> None:
    assert {*SPECIAL, *ANY_TOKEN, *SESSIONS_ONLY} <= {door.field for door in FIELDS}


def test_field_without_declared_scopes_admits_sessions_only() -> None:
    @strawberry.type
    class Planted:
        @kit.query("Of the domain.", who=SignedIn)
        def own(self) -> int:
            return 1

        @kit.mutation("For anyone.", who=Anyone)
        def open(self) -> int:
            return 1

    resolve_scopes(Planted, TASKS, changes=False)
    own, opened = Planted.__strawberry_definition__.fields  # type: ignore[attr-defined]
    assert own.metadata[SCOPES] == TASKS.read
    resolve_scopes(Planted, None, changes=True)
    for field in (own, opened):
        field.metadata[SCOPES] = kit.BY_DOMAIN
    resolve_scopes(Planted, None, changes=True)
    assert own.metadata[SCOPES] is opened.metadata[SCOPES] is None


def test_scope_to_write_includes_reading() -> None:
    assert granted_scopes(["WORKBENCH_WRITE"]) == {
        "WORKBENCH_READ",
        "WORKBENCH_READ_ONLY",
        "WORKBENCH_WRITE",
    }
    for area in ("TASKS", "STORAGE", "ADMIN"):
        assert granted_scopes([f"{area}_WRITE"]) == {f"{area}_READ", f"{area}_WRITE"}
        assert granted_scopes([f"{area}_READ"]) == {f"{area}_READ"}


async def token_of(client: Client, *scopes: str) -> Client:
    return client.with_token((await create_access_token(client, *scopes))["token"])


@pytest.mark.parametrize("scope", AccessTokenScope)
async def test_token_may_use_the_fields_of_its_scope_only(admin: Client, scope: str) -> None:
    token = await token_of(admin, scope)
    granted = granted_scopes([scope])
    for door in FIELDS:
        needed = expected(door)
        answer = await knock_by_post(token, door)
        is_refused = answer.code == "FORBIDDEN" and "access token" in answer.message
        assert is_refused is not (needed is not None and needed <= granted), f"{door}: {answer}"


async def knock_by_post(client: Client, door: Door) -> Response:
    """A subscription that is not refused for its scopes is refused for its media type."""
    ids = {path: "nonsense" for path in (door.path, *door.others) if path}
    if door.root != "subscription":
        return await knock(client, door, ids)
    given = '(id: "nonsense")' if door.path else ""
    body = {"query": f"subscription {{ {door.field}{given} {{ __typename }} }}"}
    headers = client.headers | {"Accept": "application/json"}
    return Response.of((await client.http.post("/graphql", json=body, headers=headers)).json())


async def test_operation_with_one_refused_field_does_nothing(ada: Client) -> None:
    token = await token_of(ada, "TASKS_WRITE")
    create = 'createTask(input: {title: "x"}) { task { id } }'
    nested = """fragment F on Mutation { ...G }
      fragment G on Mutation { ... { updateViewer(input: {name: "E"}) { __typename } } }"""
    refused = [
        f'mutation {{ {create} disconnect(input: {{id: "x"}}) {{ __typename }} }}',
        f"mutation {{ {create} ...F }} {nested}",
    ]
    for document in refused:
        assert (await token.send(document)).code == "FORBIDDEN"
    assert (await ada.ask("{ taskStats { total } }"))["taskStats"]["total"] == 0
    assert (await token.ask("{ __typename viewer { name } __schema { __typename } }"))["viewer"]


@pytest.mark.parametrize("prefix", sorted(FACTORIES.keys() - SHARED))
async def test_node_requires_scope_of_its_type(ada: Client, prefix: str) -> None:
    node = await FACTORIES[prefix](ada)
    for scope in ("TASKS_READ", "STORAGE_READ", "WORKBENCH_READ", "ADMIN_WRITE"):
        token = await token_of(ada, scope)
        answer = await token.send("query($id: ID!) { nodes(ids: [$id]) { id } }", id=node)
        may = prefix == "user" or scope == READS.get(prefix)
        assert answer.code == ("OK" if may else "FORBIDDEN"), f"{scope}: {answer}"


def strangers_doors() -> Iterator[Door]:
    return (door for door in DOORS if not door.is_for_admins)


async def test_token_of_each_scope_reaches_no_object_of_another_user(
    ada: Client, bob: Client, admin: Client
) -> None:
    theirs = {prefix: await make(ada) for prefix, make in FACTORIES.items() if prefix not in SHARED}
    tokens = [await token_of(bob, scope) for scope in AccessTokenScope]
    for door in strangers_doors():
        taken = await prefixes(admin, door)
        others: dict[Path, str] = {path: missing_id(taken[path][0]) for path in door.others}
        for prefix in taken[door.path]:
            if prefix in SHARED or prefix in IN_TARGET:
                continue
            for token in tokens:
                answer = await knock(token, door, others | {door.path: theirs[prefix]})
                assert "__typename" not in str(answer.data), f"{door}: {answer}"
                if door.root != "query":
                    assert answer.code in {"FORBIDDEN", "NOT_FOUND"}, f"{door}: {answer}"
    for node in theirs.values():
        found = await ada.ask("query($id: ID!) { node(id: $id) { id } }", id=node)
        assert found == {"node": {"id": node}}

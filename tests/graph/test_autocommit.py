"""Every query and mutation on pooled connections, where single statements autocommit.

The default `database` of tests cannot do that; `SavepointLease` says why.
"""

from typing import Any

import pytest
from graphql import GraphQLObjectType

from db.kit.base import new_id
from db.postgres.engine import Database
from graph.schema import schema
from tests.fixtures.clients import Client, Response
from tests.fixtures.database import connections_in_use
from tests.graph.test_ownership import Door, Path, id_paths, knock, own, prefixes

core: Any = schema._schema

INPUTS: dict[str, dict[str, Any]] = {
    "createBsp": {"account": "one", "capacity": "1000", "multiaddresses": []},
    "importSavedQueries": {"sql": "-- @query one\nSELECT 1"},
    "importTasks": {"json": '[{"title": "one"}]'},
    "refreshSession": {"refreshToken": "x"},
    "requestPasswordReset": {"email": "ada@example.com"},
    "resetPassword": {"token": "x", "newPassword": "correct horse battery"},
    "saveConnection": {"name": "n", "host": "127.0.0.1", "database": "d", "username": "u"},
    "saveQuery": {"name": "n", "text": "SELECT 1"},
    "signOut": {"refreshToken": "x"},
    "signUp": {"email": "new@example.com", "password": "correct horse battery", "name": "New"},
}
"""Inputs of mutations for which a sample of each type will not do."""

REFUSED: dict[str, set[str]] = {
    "cancelQuery": {"CONFLICT"},  # unless the run still waits
    "changePassword": {"BAD_USER_INPUT"},
    "changeRows": {"BAD_USER_INPUT"},
    "commitTransaction": {"CONFLICT"},  # the session does not open
    "connect": {"UNAVAILABLE"},
    "createPasswordReset": {"BAD_USER_INPUT"},  # the samples have no password
    "deletePreference": {"NOT_FOUND"},
    "deleteQueryRun": {"CONFLICT"},  # unless the run has ended
    "executeQuery": {"BAD_USER_INPUT"},  # without a connection or a session
    "executeScript": {"BAD_USER_INPUT"},  # without a connection or a session
    "explainQuery": {"BAD_USER_INPUT"},  # without a connection or a session
    "exportQueryRun": {"BAD_USER_INPUT", "CONFLICT"},  # a conflict until the run has failed
    "fileByKey": {"BAD_USER_INPUT"},
    "importRows": {"CONFLICT"},  # until the bytes of the file are there
    "openSession": {"UNAVAILABLE"},
    "refreshSession": {"UNAUTHENTICATED"},
    "replaceFile": {"CONFLICT"},  # until the bytes of the file are there
    "requestPasswordReset": {"FORBIDDEN"},  # without a mail server
    "resetPassword": {"BAD_USER_INPUT"},
    "rollbackTransaction": {"CONFLICT"},
    "setBspMultiaddresses": {"BAD_USER_INPUT"},
    "signIn": {"BAD_USER_INPUT"},
    "signOut": {"BAD_USER_INPUT"},
    "testConnection": {"BAD_USER_INPUT"},
}
"""Codes besides OK that the samples lead to."""


def walk(root: str) -> list[Door]:
    """Each field of a root with the IDs that it needs."""
    kind = getattr(core, f"{root}_type")
    assert isinstance(kind, GraphQLObjectType)
    found = []
    for name, field in kind.fields.items():
        ids = [each for argument in field.args.items() for each in id_paths(*argument)]
        needed = tuple(path for path, required in ids if required)
        found.append(Door(root, name, needed[0] if needed else (), needed[1:]))
    return found


@pytest.fixture
def database(committed: Database) -> Database:
    return committed


async def ask(door: Door, admin: Client) -> Response:
    if door.field in INPUTS:
        kind = door.definition.args["input"].type
        document = f"mutation($input: {kind}) {{ {door.field}(input: $input) {{ __typename }} }}"
        return await admin.send(document, input=INPUTS[door.field])
    paths: tuple[Path, ...] = (door.path, *door.others) if door.path else ()
    taken = await prefixes(admin, door) if paths else {}
    ids = {path: await own(admin, admin, taken[path][0]) for path in paths}
    return await knock(admin, door, ids)


@pytest.mark.parametrize("door", [*walk("query"), *walk("mutation")], ids=lambda door: door.field)
async def test_operation_works_with_autocommit(
    admin: Client, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No process holds the sessions of the samples, so none closes them.
    monkeypatch.setattr("db.workbench.sessions.service.CLOSE_WITHIN_S", 0.1)
    answer = await ask(door, admin)
    assert answer.code in {"OK"} | REFUSED.get(door.field, set()), answer


async def test_changes_of_one_operation_are_seen_by_the_next_connection(
    admin: Client, database: Database
) -> None:
    title = new_id().hex
    create = "mutation($t: String!) { createTask(input: {title: $t}) { task { title } } }"
    await admin.ask(create, t=title)
    async with connections_in_use(database):  # so that the read below takes another
        answer = await admin.ask("{ tasks(first: 1) { nodes { title } } }")
    assert answer == {"tasks": {"nodes": [{"title": title}]}}

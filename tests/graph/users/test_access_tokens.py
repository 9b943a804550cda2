"""Access tokens for programs: creation, use, expiry and revocation."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import websockets
from sqlalchemy import text

from db.postgres.engine import Database
from db.postgres.statements import compile_change, compile_statement
from db.services import Services, sweeps_of
from db.users import AccessTokenScope, Users
from db.users.access_tokens import MAX_TOKENS
from tests.fixtures.clients import Client
from tests.fixtures.database import Statements
from tests.fixtures.factories import create_access_token, make_connection_to, make_task
from tests.fixtures.patience import patience
from tests.fixtures.replicas import AddUser, OpenReplica
from tests.fixtures.targets import Target
from tests.graph.test_scopes import token_of
from tests.graph.transport.files.test_file_routes import DATA, make, stored

TOKENS = """{ accessTokens(first: 10) { totalCount nodes {
  id name scopes createdAt expiresAt lastUsedAt } } }"""
CREATE = """mutation($input: CreateAccessTokenInput!) { createAccessToken(input: $input) {
  token accessToken { id name scopes expiresAt } } }"""
REVOKE = """mutation($id: ID!) { revokeAccessToken(input: {id: $id}) { revokedAccessTokenId } }"""
RUN = """mutation($input: ExecuteQueryInput!) { executeQuery(input: $input) { run {
  id state readOnly error { sqlstate } } } }"""
_STORED = compile_statement(text("SELECT access_tokens::text FROM access_tokens"))
_AGE = compile_change(
    text(
        "UPDATE access_tokens SET expires_at = expires_at - CAST(:by AS interval),"
        " last_used_at = last_used_at - CAST(:by AS interval)"
    )
)


async def listed(client: Client) -> list[Any]:
    found: list[Any] = (await client.ask(TOKENS))["accessTokens"]["nodes"]
    return found


async def test_token_is_shown_once_and_acts_within_its_scopes(
    ada: Client, database: Database, statements: Statements
) -> None:
    await make_task(ada)
    given = {"name": " Nightly export ", "scopes": ["TASKS_READ", "TASKS_READ", "STORAGE_READ"]}
    made = (await ada.ask(CREATE, input=given))["createAccessToken"]
    async with database.read() as session:
        ((row,),) = await session.rows(_STORED)
    assert made["token"] not in row
    (shown,) = await listed(ada)
    assert (shown["name"], shown["scopes"]) == ("Nightly export", ["STORAGE_READ", "TASKS_READ"])
    assert made["token"] not in json.dumps(shown)
    assert shown["lastUsedAt"] is None
    life = datetime.fromisoformat(shown["expiresAt"]) - datetime.now(UTC)
    assert timedelta(days=89) < life < timedelta(days=91)
    token = ada.with_token(made["token"])
    assert (await token.ask("{ taskStats { total } viewer { name } }"))["viewer"]["name"] == "Ada"
    assert (await token.send(CREATE, input=given)).code == "FORBIDDEN"
    assert (await listed(ada))[0]["lastUsedAt"] is not None
    with statements.expected(1):  # the token is cached, and its use is not written again
        await token.ask("{ taskStats { total } }")


async def test_last_use_is_written_once_a_minute(
    ada: Client, services: Services, database: Database, statements: Statements
) -> None:
    token = await token_of(ada, "TASKS_READ")
    assert ada.user is not None
    writes = []
    for age in (timedelta(0), timedelta(0), timedelta(seconds=61), timedelta(0)):
        await services.identity.access.announce(ada.user.id)  # forgets the verification
        await database.write(lambda session, by=age: session.rows(_AGE, by=by))  # type: ignore[misc]
        before = len(statements)
        await token.ask("{ __typename }")
        writes.append(sum("UPDATE access_tokens" in sql for sql in statements[before:]))
    assert writes == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"scopes": []}, "scopes"),
        ({"name": " "}, "name"),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt"),
        ({"expiresAt": "2190-01-01T00:00:00Z"}, "expiresAt"),
    ],
)
async def test_create_access_token_refuses(ada: Client, wrong: Any, field: str) -> None:
    answer = await ada.send(CREATE, input={"name": "n", "scopes": ["TASKS_READ"]} | wrong)
    assert (answer.code, answer.errors[0]["extensions"]["field"]) == ("BAD_USER_INPUT", field)


async def test_user_has_a_limited_number_of_tokens(
    ada: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_TOKENS == 100
    monkeypatch.setattr("db.users.access_tokens.MAX_TOKENS", 1)
    await create_access_token(ada)
    answer = await ada.send(CREATE, input={"name": "n", "scopes": ["TASKS_READ"]})
    assert answer.code == "TOO_LARGE"


async def test_expired_token_is_refused_listed_and_swept(
    ada: Client, services: Services, database: Database
) -> None:
    token = await token_of(ada, "TASKS_READ")
    await database.write(lambda session: session.rows(_AGE, by=timedelta(days=91)))
    assert (await token.send("{ __typename }")).code == "UNAUTHENTICATED"
    assert len(await listed(ada)) == 1
    assert await sweeps_of(services)["access tokens"]() == 0
    await database.write(lambda session: session.rows(_AGE, by=timedelta(days=30)))
    assert await sweeps_of(services)["access tokens"]() == 1


async def test_token_of_removed_user_is_refused(
    ada: Client, services: Services, database: Database
) -> None:
    token = await token_of(ada, *AccessTokenScope)
    assert (await token.send("{ tasks(first: 1) { nodes { id } } }")).code == "OK"
    user = ada.user
    assert user is not None
    await database.transaction(lambda session: Users(session).remove(user.id))
    await services.identity.access.announce(user.id)
    assert (await token.send("{ __typename }")).code == "UNAUTHENTICATED"


async def test_admin_needs_the_scope_also_for_details(admin: Client, ada: Client) -> None:
    health = "{ health { version database { version } } }"
    whole = await admin.ask(health)
    assert (await (await token_of(admin, "ADMIN_READ")).ask(health)) == whole
    for token in (await token_of(admin, "TASKS_WRITE"), await token_of(ada, "ADMIN_WRITE")):
        assert (await token.ask(health))["health"]["database"]["version"] is None
    assert (await (await token_of(ada, "ADMIN_READ")).send("{ logDirectory }")).code == "FORBIDDEN"


async def test_links_of_a_token_follow_its_scopes_and_end_with_it(ada: Client) -> None:
    writes, reads = await token_of(ada, "STORAGE_WRITE"), await token_of(ada, "STORAGE_READ")
    download = await stored(writes)
    pending = await make(writes, location="b")
    link = "query($id: ID!) { file(id: $id) { uploadUrl } }"
    assert (await writes.ask(link, id=pending.id))["file"]["uploadUrl"]
    assert (await reads.ask(link, id=pending.id))["file"]["uploadUrl"] is None
    assert (await ada.http.get(download)).status_code == 200
    assert (await ada.http.put(pending.upload_url, content=DATA)).status_code == 201
    for row in await listed(ada):
        await ada.ask(REVOKE, id=row["id"])
    assert (await ada.http.get(download)).status_code == 403
    assert (await writes.send("{ __typename }")).code == "UNAUTHENTICATED"


async def test_read_only_scope_runs_each_statement_read_only(ada: Client, target: Target) -> None:
    connection = await make_connection_to(ada, target)
    wait = {"connectionId": connection, "waitMs": 20_000, "readOnly": False}
    reads, writes = (
        await token_of(ada, "WORKBENCH_READ_ONLY"),
        await token_of(ada, "WORKBENCH_READ_ONLY", "WORKBENCH_WRITE"),
    )
    create = wait | {"statement": "CREATE TEMPORARY TABLE t (a int)"}
    run = (await reads.ask(RUN, input=create))["executeQuery"]["run"]
    assert (run["readOnly"], run["state"]) == (True, "FAILED")
    assert run["error"]["sqlstate"] in {"25006", "42501"}
    run = (await writes.ask(RUN, input=create))["executeQuery"]["run"]
    assert (run["readOnly"], run["state"]) == (False, "SUCCEEDED")
    select = wait | {"statement": "SELECT 1"}
    assert (await reads.ask(RUN, input=select))["executeQuery"]["run"]["state"] == "SUCCEEDED"
    only_reads = await token_of(ada, "WORKBENCH_READ")
    assert (await only_reads.send(RUN, input=select)).code == "FORBIDDEN"


async def test_refusal_names_every_missing_scope(ada: Client) -> None:
    both = "{ tasks(first: 1) { totalCount } buckets(first: 1) { totalCount } }"
    refused = await (await token_of(ada, "WORKBENCH_READ")).send(both)
    assert refused.message == "This access token lacks the scopes STORAGE_READ and TASKS_READ."


async def test_revoked_token_ends_on_every_replica_within_a_second(
    open_replica: OpenReplica, add_user: AddUser
) -> None:
    changes = "subscription { taskChanged { kind } }"
    async with open_replica() as here, open_replica() as there:
        user = await add_user("Ada")
        ada, elsewhere = await here.person(user), await there.person(user)
        made = await create_access_token(ada.client, "TASKS_READ")
        program = elsewhere._replace(client=elsewhere.client.with_token(made["token"]))
        async with program.socket() as socket, elsewhere.socket() as of_session:
            await socket.subscribe(changes)
            await of_session.subscribe(changes)
            stream = asyncio.create_task(read_stream(program.client, changes))
            assert (await program.client.send("{ taskStats { total } }")).code == "OK"
            await ada.ask(REVOKE, id=made["accessToken"]["id"])
            async with patience():
                with pytest.raises(websockets.ConnectionClosed) as closed:
                    await socket.hear()
                while (await program.client.send("{ __typename }")).code != "UNAUTHENTICATED":
                    pass
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4403
            assert "UNAUTHENTICATED" in await stream
            assert (await elsewhere.client.send("{ taskStats { total } }")).code == "OK"
            await of_session.say(type="ping")
            assert (await of_session.hear())["type"] == "pong"


async def read_stream(client: Client, document: str) -> str:
    """The whole body of an event stream, until the server ends it."""
    headers = client.headers | {"Accept": "text/event-stream"}
    answer = await client.http.post("/graphql", json={"query": document}, headers=headers)
    return answer.text

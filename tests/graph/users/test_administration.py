"""Roles, suspension and sessions: what admins do with accounts, and users with their sessions."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import websockets
from sqlalchemy import text

from db.errors import Conflict, Forbidden, Unauthenticated
from db.postgres.engine import Database
from db.postgres.statements import compile_change
from db.services import Services
from db.users import Device, ExternalUser, Identity, Role, Users
from graph.commands.users import accounts
from graph.kit.ids import id_of
from graph.users.devices import describe_device
from tests.fixtures.clients import Client
from tests.fixtures.factories import create_access_token, make_task
from tests.fixtures.identity import PASSWORD, identity_on, sign_up
from tests.fixtures.patience import patience
from tests.fixtures.replicas import AddUser, OpenReplica
from tests.graph.transport.files.test_file_routes import stored

UPDATE = """mutation($input: UpdateUserInput!) { updateUser(input: $input) {
  user { id role suspendedAt } } }"""
USERS = """query($search: String) { users(first: 2, search: $search) { totalCount
  pageInfo { hasNextPage endCursor } nodes { id email name role suspendedAt } } }"""
SIGN_IN = """mutation($email: String!, $password: String!) {
  signIn(input: {email: $email, password: $password}) { session { accessToken refreshToken } } }"""
REFRESH = """mutation($token: String!) {
  refreshSession(input: {refreshToken: $token}) { session { accessToken refreshToken } } }"""
SESSIONS = """{ mySessions(first: 10) { totalCount nodes {
  id device userAgent address createdAt lastUsedAt expiresAt current } } }"""
END = "mutation($id: ID!) { endSession(input: {id: $id}) { endedSessionId } }"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36"
_AGE = compile_change(
    text(
        "UPDATE sessions SET created_at = created_at - CAST(:by AS interval),"
        " last_used_at = last_used_at - CAST(:by AS interval)"
    )
)


def user_id(client: Client) -> str:
    assert client.user is not None
    return id_of("user", client.user.id)


async def update(admin: Client, user: Client, **values: Any) -> Any:
    return await admin.send(UPDATE, input={"id": user_id(user)} | values)


async def signed_in(client: Client, **headers: str) -> dict[str, str]:
    """The tokens of a new session, signed in by a client with these headers."""
    body = {"query": SIGN_IN, "variables": {"email": "ada@example.com", "password": PASSWORD}}
    answer = await client.http.post("/graphql", json=body, headers=headers)
    session: dict[str, str] = answer.json()["data"]["signIn"]["session"]
    return session


async def test_suspended_user_is_signed_out_and_keeps_their_data(
    anonymous: Client, admin: Client, services: Services
) -> None:
    user = (await sign_up(services.identity)).user
    anonymous.user = user
    session = await signed_in(anonymous)
    ada = anonymous.with_token(session["accessToken"])
    task, link = await make_task(ada), await stored(ada)
    token = ada.with_token((await create_access_token(ada, "TASKS_READ"))["token"])
    assert (await token.send("{ __typename }")).code == "OK"
    suspended = (await update(admin, ada, suspended=True)).data["updateUser"]["user"]
    assert suspended["suspendedAt"] is not None
    for client in (ada, token):
        assert (await client.send("{ viewer { id } }")).code == "UNAUTHENTICATED"
    assert (await ada.http.get(link)).status_code == 403
    refused = await anonymous.send(REFRESH, token=session["refreshToken"])
    assert refused.code == "UNAUTHENTICATED"
    for password, code in ((PASSWORD, "FORBIDDEN"), ("wrong password", "UNAUTHENTICATED")):
        answer = await anonymous.send(SIGN_IN, email="ada@example.com", password=password)
        assert answer.code == code
    again = (await update(admin, ada, suspended=True)).data["updateUser"]["user"]
    assert again == suspended
    resumed = await update(admin, ada, suspended=False)
    assert resumed.data["updateUser"]["user"]["suspendedAt"] is None
    assert (await ada.send("{ viewer { id } }")).code == "UNAUTHENTICATED"
    ada = anonymous.with_token((await signed_in(anonymous))["accessToken"])
    for client in (ada, token):
        found = await client.ask("{ tasks(first: 1) { nodes { id } } }")
        assert found["tasks"]["nodes"] == [{"id": task}]


async def test_suspended_user_of_an_issuer_gets_no_account(
    database: Database, identity: Identity
) -> None:
    outside = ExternalUser("https://issuer.example.com", "1", None, "Eve")

    async def meet() -> Any:
        return await database.transaction(
            lambda session: Users(session).get_or_create_external(outside)
        )

    await identity.administration.update((await meet()).id, suspended=True)
    assert await meet() is None


async def test_role_of_a_user_takes_effect_at_once(admin: Client, ada: Client) -> None:
    assert (await ada.send("{ logDirectory }")).code == "FORBIDDEN"
    changed = await update(admin, ada, role="ADMIN")
    assert changed.data["updateUser"]["user"]["role"] == "ADMIN"
    assert (await ada.send("{ logDirectory }")).code == "OK"
    await update(ada, admin, role="USER")
    assert (await admin.send("{ logDirectory }")).code == "FORBIDDEN"
    assert (await update(ada, admin, role="USER")).code == "OK"
    for change in ({"role": "USER"}, {"suspended": True}):
        assert (await update(ada, ada, **change)).code == "CONFLICT"
    assert (await update(ada, ada, role="ADMIN", suspended=False)).code == "OK"
    assert (await update(admin, ada, role="ADMIN")).code == "FORBIDDEN"


async def test_admins_who_demote_each_other_at_once_leave_one(
    committed_identity: Identity,
) -> None:
    admins = [
        await committed_identity.create(
            email=f"{name}@example.com", password=PASSWORD, name=name, role=Role.ADMIN
        )
        for name in ("ada", "bob")
    ]
    results = await asyncio.gather(
        *(committed_identity.administration.update(one.id, role=Role.USER) for one in admins),
        return_exceptions=True,
    )
    assert sorted(type(result).__name__ for result in results) == ["Conflict", "UserRow"]
    suspensions = await asyncio.gather(
        *(committed_identity.administration.update(one.id, suspended=True) for one in admins),
        return_exceptions=True,
    )
    assert [type(result) for result in suspensions].count(Conflict) == 1


async def test_users_are_listed_and_found_by_admins_only(
    admin: Client, ada: Client, bob: Client
) -> None:
    assert (await bob.send(USERS)).code == "FORBIDDEN"
    page = (await admin.ask(USERS))["users"]
    assert page["totalCount"] >= 3
    assert page["pageInfo"]["hasNextPage"]
    assert ada.user is not None
    for search in (ada.user.email, "ADA-"):
        found = (await admin.ask(USERS, search=search))["users"]
        assert [node["id"] for node in found["nodes"]] == [user_id(ada)]
        assert found["totalCount"] == 1
    assert (await admin.ask(USERS, search="%"))["users"]["totalCount"] == 0


async def test_user_sees_and_ends_their_sessions(
    anonymous: Client, services: Services, database: Database
) -> None:
    user = (await sign_up(services.identity)).user
    phone = await signed_in(anonymous, **{"User-Agent": FIREFOX})
    laptop = anonymous.with_token((await signed_in(anonymous))["accessToken"])
    here, there, first = (await laptop.ask(SESSIONS))["mySessions"]["nodes"]
    assert (here["current"], there["current"], first["current"]) == (True, False, False)
    assert (there["device"], there["userAgent"]) == ("Firefox on Linux", FIREFOX)
    assert here["device"].startswith("python-httpx")
    assert first["address"] == "192.0.2.1"
    await laptop.ask(END, id=there["id"])
    await laptop.ask(END, id=there["id"])  # again, which changes nothing
    on_phone = anonymous.with_token(phone["accessToken"])
    assert (await on_phone.send(SESSIONS)).code == "UNAUTHENTICATED"
    refused = await anonymous.send(REFRESH, token=phone["refreshToken"])
    assert refused.code == "UNAUTHENTICATED"
    assert (await laptop.ask(SESSIONS))["mySessions"]["totalCount"] == 2
    await database.write(lambda session: session.rows(_AGE, by=timedelta(minutes=6)))
    used = (await laptop.ask(SESSIONS))["mySessions"]["nodes"][0]["lastUsedAt"]
    await services.identity.access.announce(user.id)
    assert (await laptop.ask(SESSIONS))["mySessions"]["nodes"][0]["lastUsedAt"] > used


async def test_session_ends_after_its_longest_life_however_often_refreshed(
    database: Database,
) -> None:
    async with identity_on(database, session_max_days=3, refresh_token_days=2) as identity:
        token = (await sign_up(identity)).session.refresh_token
        for _ in range(2):
            await database.write(lambda session: session.rows(_AGE, by=timedelta(days=1)))
            token = (await identity.refresh(token)).session.refresh_token
        await database.write(lambda session: session.rows(_AGE, by=timedelta(days=1)))
        renewed = await identity.refresh(token)  # it expires at once
        with pytest.raises(Unauthenticated):
            await identity.refresh(renewed.session.refresh_token)
        with pytest.raises(Unauthenticated):
            await identity.verifier.verify(renewed.session.access_token)


async def test_suspension_ends_sockets_on_every_replica(
    open_replica: OpenReplica, add_user: AddUser
) -> None:
    async with open_replica() as here, open_replica() as there:
        user = await add_user("Ada")
        ada = await there.person(user)
        async with ada.socket() as socket:
            await socket.subscribe("subscription { taskChanged { kind } }")
            assert (await ada.client.send("{ viewer { id } }")).code == "OK"
            await here.services.identity.administration.update(user.id, suspended=True)
            async with patience():
                with pytest.raises(websockets.ConnectionClosed):
                    await socket.hear()
                while (await ada.client.send("{ __typename }")).code != "UNAUTHENTICATED":
                    pass


async def test_change_of_role_ends_sockets_with_the_old_role(
    open_replica: OpenReplica, add_user: AddUser
) -> None:
    async with open_replica() as here, open_replica() as there:
        ada, admin = await add_user("Ada"), await add_user("Root")
        administration = here.services.identity.administration
        for user in (ada, admin):
            await administration.update(user.id, role=Role.ADMIN)
        async with (await there.person(ada)).socket() as socket:
            await administration.update(ada.id, role=Role.ADMIN)  # changes nothing
            await socket.say(type="ping")
            assert (await socket.hear())["type"] == "pong"
            await administration.update(ada.id, role=Role.USER)
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await socket.hear()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4403


async def test_operator_suspends_lists_and_ends_sessions(services: Services) -> None:
    identity = services.identity
    await identity.sign_up(
        email="ada@example.com",
        password=PASSWORD,
        name="Ada",
        address="192.0.2.7",
        user_agent="evil\x1b[31m\x00agent",
    )
    (row,) = await accounts.sessions_of(services, "ada@example.com")
    shown = accounts.describe_session(row)
    assert "192.0.2.7" in shown
    assert "evil[31magent" in shown
    assert await accounts.end_sessions(services, "ada@example.com") == 1
    assert await accounts.sessions_of(services, "ada@example.com") == []
    suspended = await accounts.update_user(services, "ada@example.com", suspended=True)
    assert accounts.describe_user(suspended).endswith("(suspended)")
    with pytest.raises(Forbidden):
        await identity.sign_in(email="ada@example.com", password=PASSWORD, address="")


@pytest.mark.parametrize(
    ("user_agent", "device"),
    [
        (FIREFOX, "Firefox on Linux"),
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Edg/139.0.0.0", "Edge on Windows"),
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT}", "Chrome on Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_5) Version/18.5 Safari/604.1", "Safari on iPhone"),
        ("curl/8.14.1", "curl"),
        ("", None),
        (None, None),
    ],
)
def test_device_is_described_by_user_agent(user_agent: str | None, device: str | None) -> None:
    assert describe_device(user_agent) == device


def test_device_is_stored_without_control_characters() -> None:
    device = Device("192.0.2.1", "a\x00\n" + "b" * 1_000).storable()
    assert device.user_agent == "a" + "b" * 299

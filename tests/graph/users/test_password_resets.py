"""One-time links to set a new password."""

import asyncio
from typing import Any

from sqlalchemy import text

from db.errors import BadInput
from db.kit.base import new_id
from db.postgres.engine import Database
from db.postgres.statements import compile_change, compile_statement
from db.services import Services, sweeps_of
from db.users import Identity, Role
from graph.kit.ids import id_of
from tests.fixtures.clients import Client, Response
from tests.fixtures.identity import PASSWORD
from tests.graph.users.test_users import REFRESH, SIGN_IN, VIEWER, Person, errors_of, eve

__all__ = ["eve"]  # a fixture

CREATE = """mutation ($input: CreatePasswordResetInput!) {
  createPasswordReset(input: $input) { url token expiresAt } }"""
RESET = """mutation ($input: ResetPasswordInput!) {
  resetPassword(input: $input) { user { id email } } }"""
NEW_PASSWORD = "another horse battery"
_AGE = compile_change(
    text("UPDATE password_resets SET expires_at = expires_at - interval '1 hour'")
)
_STORED = compile_statement(text("SELECT encode(token_hash, 'escape') FROM password_resets"))


async def reset(client: Client, token: str, password: str = NEW_PASSWORD) -> Response:
    return await client.send(RESET, input={"token": token, "newPassword": password})


async def created(admin: Client, user: str) -> Any:
    return (await admin.ask(CREATE, input={"userId": user}))["createPasswordReset"]


async def test_reset_link_sets_password_once_and_ends_sessions(
    eve: Person, admin: Client, anonymous: Client, database: Database
) -> None:
    link = await created(admin, eve.id)
    assert link["url"] == f"http://howdah/reset-password#token={link['token']}"
    async with database.read() as session:
        ((stored,),) = await session.rows(_STORED)
    assert link["token"] not in stored
    weak = await reset(anonymous, link["token"], "short")
    assert errors_of(weak)["field"] == "newPassword"
    anonymous.token = "stale"  # is ignored
    used = await reset(anonymous, link["token"])
    assert used.data == {"resetPassword": {"user": {"id": eve.id, "email": "eve@example.com"}}}
    assert (await eve.send(VIEWER)).code == "UNAUTHENTICATED"
    assert (await eve.send(REFRESH, input={"refreshToken": eve.refresh_token})).code != "OK"
    old = {"email": "eve@example.com", "password": PASSWORD}
    assert (await anonymous.send(SIGN_IN, input=old)).code == "UNAUTHENTICATED"
    await anonymous.ask(SIGN_IN, input=old | {"password": NEW_PASSWORD})
    again = await reset(anonymous, link["token"], "yet another horse")
    assert again == await reset(anonymous, "unknown")
    assert (again.code, errors_of(again)["field"]) == ("BAD_USER_INPUT", "token")


async def test_expired_replaced_and_void_links_are_refused_alike(
    eve: Person, admin: Client, anonymous: Client, database: Database, services: Services
) -> None:
    replaced = (await created(admin, eve.id))["token"]
    expired = (await created(admin, eve.id))["token"]
    await database.write(lambda session: session.rows(_AGE))
    unknown = await reset(anonymous, "unknown")
    for token in (replaced, expired):
        assert await reset(anonymous, token) == unknown
    assert await sweeps_of(services)["password resets"]() == 1
    void = (await created(admin, eve.id))["token"]
    change = """mutation { changePassword(input: {currentPassword: "%s", newPassword: "%s"}) {
      user { id } } }"""
    await eve.ask(change % (PASSWORD, NEW_PASSWORD))
    assert await reset(anonymous, void) == unknown


async def test_create_password_reset_requires_admin_and_own_password(
    eve: Person, admin: Client, anonymous: Client
) -> None:
    for client, code in ((anonymous, "UNAUTHENTICATED"), (eve, "FORBIDDEN")):
        assert (await client.send(CREATE, input={"userId": eve.id})).code == code
    missing = await admin.send(CREATE, input={"userId": id_of("user", new_id())})
    assert missing.code == "NOT_FOUND"
    assert admin.user is not None
    without = await admin.send(CREATE, input={"userId": id_of("user", admin.user.id)})
    assert without.code == "BAD_USER_INPUT"


async def test_wrong_reset_tokens_are_limited_by_address(
    eve: Person, admin: Client, anonymous: Client
) -> None:
    token = (await created(admin, eve.id))["token"]
    for _ in range(20):
        assert (await reset(anonymous, "wrong")).code == "BAD_USER_INPUT"
    limited = await reset(anonymous, token)
    assert limited.code == "RATE_LIMITED"
    assert errors_of(limited)["retryAfter"] > 0


async def test_concurrent_resets_use_the_link_once(committed_identity: Identity) -> None:
    email = f"{new_id().hex}@example.com"
    user = await committed_identity.create(
        email=email, password=PASSWORD, name="Eve", role=Role.USER
    )
    link = await committed_identity.password_resets.create(user.id)
    passwords = [f"{NEW_PASSWORD} {number}" for number in range(5)]
    results = await asyncio.gather(
        *(
            committed_identity.password_resets.use(link.token, password=word, address="192.0.2.7")
            for word in passwords
        ),
        return_exceptions=True,
    )
    refused = [result for result in results if isinstance(result, BadInput)]
    assert len(refused) == 4
    (winner,) = [i for i, result in enumerate(results) if not isinstance(result, Exception)]
    await committed_identity.sign_in(email=email, password=passwords[winner], address="192.0.2.7")


async def test_page_of_reset_link_runs_only_its_own_script(anonymous: Client) -> None:
    page = await anonymous.http.get("/reset-password")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'sha256-" in policy
    assert "unsafe" not in policy
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "ResetPasswordInput" in page.text

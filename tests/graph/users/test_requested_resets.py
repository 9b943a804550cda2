"""Links to set a new password that users request by mail."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import argon2
import pytest
from sqlalchemy import text

from db.events import EventBus
from db.postgres.engine import Database
from db.postgres.statements import compile_statement
from db.security.keys import load_keys
from db.services import Services
from db.settings import Settings
from db.users import Identity, Role, open_identity
from tests.fixtures.clients import Client
from tests.fixtures.identity import PASSWORD, sign_up
from tests.fixtures.mail import RunningServer, running_mail_server
from tests.graph.users.test_password_resets import NEW_PASSWORD, RESET

REQUEST = """mutation($email: String!) { requestPasswordReset(input: {email: $email}) {
  requested } }"""

_CREATED = compile_statement(
    text("SELECT actor_id, subject_id FROM audit_events WHERE kind = 'PASSWORD_RESET_CREATED'"),
    unscoped=True,
)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return Settings(
        env="development",
        data_dir=settings.data_dir,
        sign_up="open",
        public_url="https://howdah.example.com/",
    )


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running_mail_server(tmp_path) as running:
        yield running


@pytest.fixture
async def identity(
    settings: Settings, database: Database, events: EventBus, server: RunningServer
) -> AsyncIterator[Identity]:
    """With a mail server, in place of that of `services`."""
    async with open_identity(
        settings,
        database,
        load_keys(settings).secret,
        events=events,
        mail=server.mail(),
        profile=argon2.profiles.CHEAPEST,
    ) as identity:
        yield identity


@pytest.fixture
def mailing(anonymous: Client, services: Services, identity: Identity) -> Client:
    object.__setattr__(services, "identity", identity)
    return anonymous


async def settled(identity: Identity) -> None:
    await asyncio.gather(*identity.password_resets._mailing)


async def test_requested_link_sets_a_new_password(
    mailing: Client, identity: Identity, server: RunningServer, database: Database
) -> None:
    ada = (await sign_up(identity)).user
    mailing.token = "expired"
    answer = await mailing.send(REQUEST, email="ADA@example.com ")
    assert answer.data == {"requestPasswordReset": {"requested": True}}
    mail = await server.inbox.next()
    assert mail["To"] == "ada@example.com"
    async with database.read() as session:
        assert await session.rows(_CREATED) == [(None, ada.id)]
    prefix = "https://howdah.example.com/reset-password#token="
    (line,) = (line for line in mail.get_content().splitlines() if line.startswith(prefix))
    token = line.removeprefix(prefix)
    await mailing.ask(RESET, input={"token": token, "newPassword": NEW_PASSWORD})
    await identity.sign_in(email="ada@example.com", password=NEW_PASSWORD, address="")


async def test_request_answers_alike_without_account_or_password(
    mailing: Client, identity: Identity, server: RunningServer
) -> None:
    await identity.local_admin()
    suspended = await identity.create(
        email="eve@example.com", password=PASSWORD, name="Eve", role=Role.USER
    )
    await identity.administration.update(suspended.id, suspended=True)
    for email in ("nobody@example.com", "admin@howdah.local", "eve@example.com"):
        answer = await mailing.send(REQUEST, email=email)
        assert answer.data == {"requestPasswordReset": {"requested": True}}
    await settled(identity)
    assert server.inbox.mails.empty()


@pytest.mark.parametrize("email", ["ada@example.com", "nobody@example.com"])
async def test_requests_for_an_address_are_limited(
    mailing: Client, identity: Identity, email: str
) -> None:
    await sign_up(identity)
    codes = [(await mailing.send(REQUEST, email=email)).code for _ in range(4)]
    assert codes == ["OK", "OK", "OK", "RATE_LIMITED"]
    await settled(identity)


async def test_mail_that_cannot_be_sent_is_logged(
    mailing: Client, identity: Identity, server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    await sign_up(identity)
    identity.password_resets._mail = server.mail(scheme="smtps")  # the server speaks no TLS
    assert (await mailing.send(REQUEST, email="ada@example.com")).code == "OK"
    await settled(identity)
    assert "was not mailed" in caplog.text


async def test_server_without_mail_says_so(anonymous: Client) -> None:
    answer = await anonymous.send(REQUEST, email="ada@example.com")
    assert answer.code == "FORBIDDEN"

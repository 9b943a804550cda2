"""Searches the output and files of a server for the secrets of connections."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from db.services import Services, open_services
from db.settings import Settings
from db.users import Users
from graph.app import build_app
from graph.auth import authenticate
from graph.schema import schema
from tests.fixtures.bastion import PASSPHRASE, SshServer
from tests.fixtures.bastion import PASSWORD as SSH_PASSWORD
from tests.fixtures.clients import Client
from tests.fixtures.targets import CANARY, Target
from tests.fixtures.toy import calling
from tests.graph.connections.test_connections import CONNECT, DISCONNECT, SAVE, TEST

SECRETS = (CANARY, SSH_PASSWORD, PASSPHRASE, "PRIVATE KEY-----")


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Services]:
    """A laptop's, with a data folder and a PostgreSQL of its own."""
    settings = Settings(
        data_dir=tmp_path / "data",
        targets="private",
        env="production",
        secret_key="b7jL0cN4kQe9uVx2Rz5mTy8wPa1sDf3g",
        credential_key="k1:kXk0Z9m2uK8kq3oVh5sT1yB7wR4eJ6pLcN0aXzQvG2M=",
    )
    async with open_services(settings) as services:
        yield services


async def test_secret_canary_is_found_nowhere(
    opened: Services, target: Target, ssh_server: SshServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    app = build_app(
        opened.settings,
        schema=schema,
        authenticate=authenticate,
        open_services=lambda _: _given(opened),
    )
    async with calling(app) as http:
        user = await opened.database.write(
            lambda session: Users(session).add(
                email="ada@example.com", name="Ada", password_hash=None
            )
        )
        ada = Client(app, http, user, await opened.identity.issue(user))
        told = await _use(ada, target, ssh_server)
        metrics = (await http.get("/metrics")).text
    assert opened.embedded is not None
    dump = await opened.embedded.run("pg_dump")
    assert "Canary" in dump
    places = {"answers": told, "dump": dump, "log": caplog.text, "metrics": metrics}
    found = [
        (name, secret) for name, text in places.items() for secret in SECRETS if secret in text
    ]
    assert found == []
    assert _in_files(opened.settings.data_dir) == []


async def _use(ada: Client, target: Target, ssh_server: SshServer) -> str:
    """Saves, tries out, connects, fails: each with secrets of every kind. What was answered."""
    tunnel = {"host": "localhost", "port": ssh_server.port, "username": "ada"}
    ways: list[dict[str, Any]] = [
        {},
        {"sshTunnel": tunnel | {"authMethod": "PASSWORD", "password": SSH_PASSWORD,
                                "hostKeyFingerprint": ssh_server.fingerprint}},
        {"sshTunnel": tunnel | {"authMethod": "PRIVATE_KEY", "privateKey": ssh_server.private_key,
                                "passphrase": PASSPHRASE,
                                "hostKeyFingerprint": ssh_server.fingerprint}},
        {"database": CANARY[::-1]},
        {"username": "nobody"},
        {"port": 1},
    ]  # fmt: skip
    told = ""
    for way in ways:
        whole = target.connection("Canary") | way
        told += str(await ada.send(TEST, input=whole))
        kept = {"savePassword": True, "idempotencyKey": f"way {len(told)}"}
        saved = await ada.ask(SAVE, input=whole | kept)
        row_id = saved["saveConnection"]["connection"]["id"]
        told += str(saved)
        told += str(await ada.send(CONNECT, input={"id": row_id}))
        told += str(await ada.send(CONNECT, input={"id": row_id, "password": CANARY}))
        told += str(await ada.send(DISCONNECT, input={"id": row_id}))
    return told


def _in_files(folder: Path) -> list[tuple[str, str]]:
    return [
        (str(path.relative_to(folder)), secret)
        for path in folder.rglob("*")
        if path.is_file()
        for secret in SECRETS
        if secret.encode() in path.read_bytes()
    ]


class _given:  # noqa: N801 - stands where `open_services` does
    def __init__(self, services: Services) -> None:
        self._services = services

    async def __aenter__(self) -> Services:
        return self._services

    async def __aexit__(self, *_: object) -> None:
        """The fixture closes them."""

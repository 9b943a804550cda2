"""The SSH agent and the keychain of the server's account serve the local admin alone."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from db.connections import parse_draft
from db.errors import BadInput
from db.kit.base import OwnerId
from db.postgres.engine import Database
from db.security.vault import Keychain, Vault
from db.users import is_local_admin
from db.workbench import Limits, Reach, SavedConnections, Targets, Workbench
from tests.db.security.test_vault import Drawer
from tests.fixtures.identity import identity_on
from tests.fixtures.workbench import KEYS

WHOLE: dict[str, Any] = {
    "name": "Orders",
    "host": "localhost",
    "database": "orders",
    "username": "ada",
    "password": "first",
}
AGENT = {"host": "localhost", "port": 1, "username": "ada", "auth_method": "AGENT"}


@pytest.fixture
async def local_admin(database: Database) -> OwnerId:
    async with identity_on(database) as identity:
        return OwnerId((await identity.local_admin()).id)


@pytest.fixture
def drawer() -> Drawer:
    return Drawer()


@pytest.fixture
async def saver(database: Database, drawer: Drawer) -> AsyncIterator[SavedConnections]:
    """Like that of a development server: with an agent and a keychain."""

    async def find() -> Keychain:
        return Keychain(drawer)

    local_only = partial(is_local_admin, database)
    vault = Vault(KEYS, find_keychain=find, lends_keychain_to=local_only)
    targets = Targets(Reach(private=True))
    async with Workbench.opened(database, vault, targets, Limits(), local_only) as workbench:
        yield SavedConnections(database, vault, workbench)


async def test_agent_is_lent_to_the_local_admin_alone(
    saver: SavedConnections, owner: OwnerId, local_admin: OwnerId
) -> None:
    fields = WHOLE | {"ssh_tunnel": AGENT}
    with pytest.raises(BadInput) as caught:
        await saver.add(owner, fields)
    assert caught.value.field == "sshTunnel.authMethod"
    with pytest.raises(BadInput):
        await saver.workbench.probe(owner, await parse_draft(fields))
    await saver.add(local_admin, fields)
    row = await saver.add(owner, WHOLE)
    with pytest.raises(BadInput):
        await saver.change(owner, row.id, {"ssh_tunnel": AGENT})


async def test_keychain_keeps_secrets_of_the_local_admin_alone(
    saver: SavedConnections, drawer: Drawer, owner: OwnerId, local_admin: OwnerId
) -> None:
    await saver.add(owner, WHOLE)
    assert drawer == {}
    await saver.add(local_admin, WHOLE)
    assert list(drawer.values()) == ["first"]
    assert await saver.vault.keychain_for(owner) is None
    assert await saver.vault.keychain_for(local_admin) is not None

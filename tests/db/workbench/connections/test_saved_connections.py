from typing import Any
from uuid import UUID

import pytest

from db.connections import Connections, SealedRow, SecretRequired, rotate, secret_locations
from db.errors import Conflict, Forbidden, Unavailable
from db.kit.base import OwnerId
from db.postgres.engine import Database
from db.security.keys import CredentialKeys
from db.security.vault import Keychain, Vault
from db.workbench import SavedConnections, Workbench
from tests.db.security.test_vault import Drawer, to_everyone
from tests.fixtures.workbench import KEYS

WHOLE: dict[str, Any] = {
    "name": "Orders",
    "host": "db.example.com",
    "database": "orders",
    "username": "ada",
    "password": "first",
    "save_password": True,
}
NEWER = CredentialKeys("k2", {"k2": bytes(range(1, 33)), **KEYS.keys})


@pytest.fixture
def drawer() -> Drawer:
    return Drawer()


@pytest.fixture
def saver(database: Database, workbench: Workbench, drawer: Drawer) -> SavedConnections:
    """With a keychain: what stays behind there is seen."""

    async def find() -> Keychain:
        return Keychain(drawer)

    vault = Vault(KEYS, find_keychain=find, lends_keychain_to=to_everyone)
    return SavedConnections(database, vault, workbench)


async def sealed_of(database: Database, owner: OwnerId, row_id: UUID) -> SealedRow:
    async with database.read() as session:
        _, sealed = await Connections(session, owner).with_secrets(row_id)
    return sealed


async def test_the_keychain_holds_what_rows_refer_to_and_nothing_else(
    saver: SavedConnections, drawer: Drawer, owner: OwnerId, other_owner: OwnerId
) -> None:
    row = await saver.add(owner, WHOLE)
    assert list(drawer.values()) == ["first"]
    await saver.change(owner, row.id, {"password": "second"})
    assert list(drawer.values()) == ["second"]
    await saver.change(owner, row.id, {"name": "Invoices"})
    with pytest.raises(Forbidden):
        await saver.change(other_owner, row.id, {"password": "theirs", "save_password": True})
    with pytest.raises(Conflict):
        await saver.change(owner, row.id, {"password": "third"}, expected_version=1)
    with pytest.raises(Forbidden):
        await saver.remove(other_owner, row.id)
    assert list(drawer.values()) == ["second"]
    await saver.remove(owner, row.id)
    assert drawer == {}


async def test_the_keychain_follows_a_change_of_the_destination(
    saver: SavedConnections, drawer: Drawer, owner: OwnerId
) -> None:
    row = await saver.add(owner, WHOLE)
    with pytest.raises(SecretRequired):
        await saver.change(owner, row.id, {"host": "other.example.com"})
    assert list(drawer.values()) == ["first"]
    await saver.change(owner, row.id, {"host": "other.example.com", "password": "second"})
    assert list(drawer.values()) == ["second"]
    await saver.change(owner, row.id, {"host": "third.example.com", "save_password": False})
    assert drawer == {}


async def test_a_retry_leaves_no_second_secret(
    saver: SavedConnections, drawer: Drawer, owner: OwnerId
) -> None:
    first = await saver.add(owner, WHOLE, idempotency_key="once")
    assert await saver.add(owner, WHOLE, idempotency_key="once") == first
    with pytest.raises(Conflict):
        await saver.add(owner, WHOLE | {"password": "another"}, idempotency_key="once")
    assert list(drawer.values()) == ["first"]


async def test_rotation_reseals_under_the_current_key(
    database: Database, workbench: Workbench, owner: OwnerId
) -> None:
    old = SavedConnections(database, Vault(KEYS), workbench)
    rows = [await old.add(owner, WHOLE | {"password": f"secret {n}"}) for n in range(3)]
    vault = Vault(NEWER)
    assert await rotate(database, vault) == (3, [])
    assert await rotate(database, vault) == (0, [])
    only_new = Vault(CredentialKeys("k2", {"k2": NEWER.keys["k2"]}))
    for number, row in enumerate(rows):
        sealed = (await sealed_of(database, owner, row.id)).sealed_password
        assert sealed is not None
        place = secret_locations(row._asdict(), row=row.id, owner=owner)["password"]
        assert await only_new.open(sealed, place) == f"secret {number}"
        with pytest.raises(Unavailable):
            await Vault(KEYS).open(sealed, place)


async def test_rotation_continues_after_a_secret_that_does_not_open(
    database: Database, workbench: Workbench, owner: OwnerId
) -> None:
    lost = CredentialKeys("lost", {"lost": bytes(range(2, 34))})
    unreadable = await SavedConnections(database, Vault(lost), workbench).add(owner, WHOLE)
    readable = [
        await SavedConnections(database, Vault(KEYS), workbench).add(
            owner, WHOLE | {"password": f"{n}"}
        )
        for n in range(2)
    ]
    before = (await sealed_of(database, owner, unreadable.id)).sealed_password
    rotation = await rotate(database, Vault(NEWER))
    assert rotation.resealed == len(readable)
    assert [(place.row, place.column) for place in rotation.unreadable] == [
        (unreadable.id, "sealed_password")
    ]
    assert (await sealed_of(database, owner, unreadable.id)).sealed_password == before


async def test_rotation_moves_secrets_into_the_keychain_and_out_of_it(
    saver: SavedConnections,
    drawer: Drawer,
    database: Database,
    workbench: Workbench,
    owner: OwnerId,
) -> None:
    row = await SavedConnections(database, Vault(KEYS), workbench).add(owner, WHOLE)
    assert await rotate(database, saver.vault) == (1, [])
    assert list(drawer.values()) == ["first"]
    sealed = (await sealed_of(database, owner, row.id)).sealed_password
    place = secret_locations(row._asdict(), row=row.id, owner=owner)["password"]
    assert sealed is not None
    assert await saver.vault.open(sealed, place) == "first"

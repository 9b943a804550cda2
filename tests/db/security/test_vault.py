import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from db.errors import Unavailable
from db.kit.base import OwnerId, new_id
from db.security import vault as module
from db.security.keys import CredentialKeys
from db.security.vault import Keychain, SecretLocation, Vault

OLD = CredentialKeys("old", {"old": bytes(range(32))})
BOTH = CredentialKeys("new", {"new": bytes(range(1, 33)), "old": bytes(range(32))})
SECRET = "correct horse ü battery"
PLACE = SecretLocation(
    "database_connections", new_id(), OwnerId(new_id()), "sealed_password", "destination"
)


@pytest.mark.parametrize(
    "damaged", [b"", b"\x01", b"\x01\x03", b"\x01\x02\xff\xfe", b"\x01\xffold"]
)
async def test_damaged_seal_is_not_current_and_does_not_open(damaged: bytes) -> None:
    vault = Vault(BOTH)
    assert not await vault.is_current(damaged, PLACE)
    with pytest.raises(Unavailable, match="cannot be opened"):
        await vault.open(damaged, PLACE)


async def to_everyone(_: UUID) -> bool:
    return True


def vault_on(keychain: Keychain) -> Vault:
    async def find() -> Keychain:
        return keychain

    return Vault(OLD, find_keychain=find, lends_keychain_to=to_everyone)


class Drawer(dict[tuple[str, str], str]):
    """A keychain in memory."""

    def set_password(self, service: str, username: str, password: str) -> None:
        self[service, username] = password

    def get_password(self, service: str, username: str) -> str | None:
        return self.get((service, username))

    def delete_password(self, service: str, username: str) -> None:
        del self[service, username]


class Leaky(Drawer):
    """Accepts everything and stores nothing."""

    def set_password(self, service: str, username: str, password: str) -> None:
        """Like `keyring.backends.null`."""


class Locked(Drawer):
    """Raises its own exception class."""

    def get_password(self, service: str, username: str) -> str | None:
        raise ArithmeticError("locked")


class Silent(Drawer):
    """Blocks, as a prompt without a user does."""

    def __init__(self) -> None:
        self.answered = threading.Event()

    def set_password(self, service: str, username: str, password: str) -> None:
        self.answered.wait(60)


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Silent]:
    monkeypatch.setattr(module, "KEYCHAIN_WAIT_S", 0.05)
    backend = Silent()
    yield backend
    backend.answered.set()


@pytest.fixture
async def drawer() -> Drawer:
    return Drawer()


@pytest.fixture
async def keychain(drawer: Drawer) -> Keychain:
    found = await Keychain.find(drawer)
    assert found is not None
    assert drawer == {}, "the probe stayed behind"
    return found


async def test_secret_opens_at_its_location() -> None:
    vault = Vault(OLD)
    sealed = await vault.seal(SECRET, PLACE)
    assert SECRET.encode() not in sealed
    assert await vault.seal(SECRET, PLACE) != sealed
    assert await vault.open(sealed, PLACE) == SECRET


@pytest.mark.parametrize(
    "elsewhere",
    [
        PLACE._replace(table="others"),
        PLACE._replace(row=new_id()),
        PLACE._replace(owner=OwnerId(new_id())),
        PLACE._replace(column="sealed_ssh_password"),
        PLACE._replace(bound_to="elsewhere"),
    ],
    ids=["table", "row", "owner", "column", "destination"],
)
@pytest.mark.parametrize("kept", ["sealed", "keychain"])
async def test_secret_does_not_open_at_another_location(
    elsewhere: SecretLocation, kept: str, drawer: Drawer
) -> None:
    vault = vault_on(Keychain(drawer)) if kept == "keychain" else Vault(OLD)
    sealed = await vault.seal(SECRET, PLACE)
    with pytest.raises(Unavailable) as caught:
        await vault.open(sealed, elsewhere)
    assert SECRET not in str(caught.value)
    assert await vault.open(sealed, PLACE) == SECRET


async def test_secret_does_not_open_when_modified() -> None:
    vault = Vault(OLD)
    sealed = await vault.seal(SECRET, PLACE)
    for at in range(len(sealed)):
        changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(Unavailable):
            await vault.open(changed, PLACE)
    for length in range(len(sealed)):
        with pytest.raises(Unavailable):
            await vault.open(sealed[:length], PLACE)


async def test_secret_of_older_key_opens_and_is_not_current() -> None:
    sealed = await Vault(OLD).seal(SECRET, PLACE)
    vault = Vault(BOTH)
    assert await Vault(OLD).is_current(sealed, PLACE)
    assert not await vault.is_current(sealed, PLACE)
    assert await vault.open(sealed, PLACE) == SECRET
    renewed = await vault.seal(SECRET, PLACE)
    assert await vault.is_current(renewed, PLACE)
    with pytest.raises(Unavailable, match="its key is not among"):
        await Vault(OLD).open(renewed, PLACE)


async def test_keychain_stores_the_secret(drawer: Drawer, keychain: Keychain) -> None:
    vault = vault_on(keychain)
    sealed = await vault.seal(SECRET, PLACE)
    assert list(drawer.values()) == [SECRET]
    assert await vault.open(sealed, PLACE) == SECRET
    assert await vault.is_current(sealed, PLACE)
    assert not await Vault(OLD).is_current(sealed, PLACE)
    assert not await vault.is_current(await Vault(OLD).seal(SECRET, PLACE), PLACE)
    await vault.forget(sealed, PLACE)
    assert drawer == {}
    with pytest.raises(Unavailable, match="keychain"):
        await vault.open(sealed, PLACE)
    await vault.forget(sealed, PLACE)  # once more does no harm


@pytest.mark.parametrize("backend", [Leaky(), Locked()])
async def test_keychain_without_working_probe_is_not_used(backend: Any) -> None:
    assert await Keychain.find(backend) is None


async def test_keychain_that_prompts_is_not_used(silent: Silent) -> None:
    assert await Keychain.find(silent) is None


async def test_keychain_that_stops_responding_is_unavailable(silent: Silent) -> None:
    with pytest.raises(Unavailable, match="does not respond"):
        await vault_on(Keychain(silent)).seal(SECRET, PLACE)


async def test_keychain_entry_is_deleted_when_storing_fails(
    drawer: Drawer, keychain: Keychain
) -> None:
    vault = vault_on(keychain)

    async def store() -> None:
        places = PLACE._replace(column="a"), PLACE._replace(column="b")
        async with vault.sealing(dict(zip(places, (SECRET, None), strict=True))) as sealed:
            assert len(drawer) == 1
            assert sealed["b"] is None
            raise LookupError

    with pytest.raises(LookupError):
        await store()
    assert drawer == {}


def test_fingerprint_is_equal_for_equal_secrets_only() -> None:
    vault = Vault(OLD)
    assert vault.fingerprint("a") == vault.fingerprint("a") != vault.fingerprint("b")
    assert vault.fingerprint("a") != Vault(BOTH).fingerprint("a")


def test_vault_repr_shows_no_key() -> None:
    assert "\\x01" not in repr(OLD)
    assert repr(OLD.current) not in repr(vars(Vault(OLD)))

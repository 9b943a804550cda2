"""Stores users' secrets: encrypted in their rows, or in the keychain of the machine.

A sealed secret can be opened only at its location: table, row, owner and column are authenticated
with it, and so is a digest of the destination that it was saved for. In single-user development the
operating system's keychain stores the secret, and the row stores a reference to it.
"""

import asyncio
import contextlib
import hmac
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import NamedTuple, Protocol, TypeVar
from uuid import UUID

from db.concurrency.daemon_thread import in_daemon_thread
from db.errors import Unavailable
from db.kit.base import OwnerId
from db.security.keys import CredentialKeys

T = TypeVar("T")
log = logging.getLogger(__name__)

KEYCHAIN_WAIT_S = 5.0
SERVICE = "howdah"
_SEALED, _IN_KEYCHAIN = b"\x01", b"\x02"
_NONCE_BYTES = 12


class SecretLocation(NamedTuple):
    """The row and column of a secret, authenticated as part of its encryption."""

    table: str
    row: UUID
    owner: OwnerId
    column: str
    bound_to: str
    """Digest of the destination that the secret may be sent to; see `db.connections.binding`."""
    is_short_lived: bool = False
    """True if its row expires: it is not stored in a keychain, in which nothing does."""

    def __str__(self) -> str:
        return f"{self.table}/{self.row.hex}/{self.owner.hex}/{self.column}/{self.bound_to}"


class KeyringBackend(Protocol):
    """The part of the `keyring` API that is used."""

    def get_password(self, service: str, username: str) -> str | None: ...
    def set_password(self, service: str, username: str, password: str) -> None: ...
    def delete_password(self, service: str, username: str) -> None: ...


class Vault:
    def __init__(
        self,
        keys: CredentialKeys,
        *,
        find_keychain: "Callable[[], Awaitable[Keychain | None]] | None" = None,
        lends_keychain_to: Callable[[UUID], Awaitable[bool]] | None = None,
    ) -> None:
        """New secrets of the owners that `lends_keychain_to` accepts go to the keychain.

        None accepts no owner. Secrets that are in the keychain are read for every owner.
        """
        self._keys = keys
        self._find_keychain = find_keychain
        self._lends_keychain_to = lends_keychain_to
        self._finding: asyncio.Task[Keychain | None] | None = None

    async def keychain_for(self, owner: UUID) -> "Keychain | None":
        """The keychain that stores new secrets of this owner, or None."""
        if self._lends_keychain_to is None or not await self._lends_keychain_to(owner):
            return None
        return await self._keychain()

    async def _keychain_for(self, location: SecretLocation) -> "Keychain | None":
        return None if location.is_short_lived else await self.keychain_for(location.owner)

    async def _keychain(self) -> "Keychain | None":
        """The keychain of this machine, or None. Probed on the first call."""
        if self._find_keychain is None:
            return None
        if self._finding is None:
            self._finding = asyncio.ensure_future(self._find_keychain())
        return await asyncio.shield(self._finding)

    async def seal(self, secret: str, location: SecretLocation) -> bytes:
        if keychain := await self._keychain_for(location):
            reference = secrets.token_bytes(16)
            await keychain.keep(f"{location}/{reference.hex()}", secret)
            return _IN_KEYCHAIN + reference
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = secrets.token_bytes(_NONCE_BYTES)
        key_id = self._keys.current_id.encode()
        head = _SEALED + bytes([len(key_id)]) + key_id
        box = AESGCM(self._keys.current).encrypt(
            nonce, secret.encode(), head + str(location).encode()
        )
        return head + nonce + box

    async def open(self, sealed: bytes, location: SecretLocation) -> str:
        if sealed[:1] == _IN_KEYCHAIN:
            return await self._fetch(f"{location}/{sealed[1:].hex()}")
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        end = 2 + int.from_bytes(sealed[1:2], "big")
        key = self._keys.keys.get(_key_id(sealed))
        head, nonce, box = sealed[:end], sealed[end:][:_NONCE_BYTES], sealed[end:][_NONCE_BYTES:]
        if key is None:
            raise _cannot_open("its key is not among HOWDAH_CREDENTIAL_KEY")
        try:
            return AESGCM(key).decrypt(nonce, box, head + str(location).encode()).decode()
        except (InvalidTag, ValueError):
            raise _cannot_open("it, or the destination it was saved for, was changed") from None

    async def forget(self, sealed: bytes | None, location: SecretLocation) -> None:
        """Deletes the entry of the keychain, if there is one. The caller deletes the row."""
        if sealed and sealed[:1] == _IN_KEYCHAIN and (keychain := await self._keychain()):
            await keychain.forget(f"{location}/{sealed[1:].hex()}")

    @contextlib.asynccontextmanager
    async def sealing(
        self, plaintexts: Mapping[SecretLocation, str | None]
    ) -> AsyncIterator[dict[str, bytes | None]]:
        """Yields the seals by column for the block to store. If it fails, they are deleted."""
        sealed: dict[SecretLocation, bytes | None] = {}
        try:
            for location, secret in plaintexts.items():
                sealed[location] = None if secret is None else await self.seal(secret, location)
            yield {location.column: value for location, value in sealed.items()}
        except BaseException:
            for location, value in sealed.items():
                await self.forget(value, location)
            raise

    async def is_current(self, sealed: bytes, location: SecretLocation) -> bool:
        """Whether the secret is sealed with the current key or keychain (`howdah keys rotate`)."""
        in_keychain = await self._keychain_for(location) is not None
        if in_keychain or sealed[:1] == _IN_KEYCHAIN:
            return (sealed[:1] == _IN_KEYCHAIN) is in_keychain
        return _key_id(sealed) == self._keys.current_id

    def fingerprint(self, secret: str) -> str:
        """A keyed digest to compare secrets; without the key it reveals nothing."""
        return hmac.digest(self._keys.current, b"fingerprint " + secret.encode(), "sha256").hex()

    async def _fetch(self, name: str) -> str:
        keychain = await self._keychain()
        found = await keychain.fetch(name) if keychain else None
        if found is None:
            raise _cannot_open("the keychain of this machine does not have it")
        return found


class Keychain:
    """The keychain of the operating system. Calls run in a thread: they may prompt and block."""

    def __init__(self, backend: KeyringBackend) -> None:
        self._backend = backend

    @classmethod
    async def find(cls, backend: KeyringBackend | None = None) -> "Keychain | None":
        """The keychain of this machine, or None if a probe entry cannot be stored and read."""
        probe, name = secrets.token_hex(8), f"probe/{secrets.token_hex(8)}"
        try:
            found = cls(await _in_thread(_system_backend) if backend is None else backend)
            await found.keep(name, probe)
            answered = await found.fetch(name)
            await found.forget(name)
        except Exception as error:  # noqa: BLE001 - backends raise any exception; the keychain is then unusable
            log.info("no keychain is available: %s", type(error).__name__)
            return None
        return found if answered == probe else None

    async def keep(self, name: str, secret: str) -> None:
        await _call(self._backend.set_password, SERVICE, name, secret)

    async def fetch(self, name: str) -> str | None:
        return await _call(self._backend.get_password, SERVICE, name)

    async def forget(self, name: str) -> None:
        try:
            await _call(self._backend.delete_password, SERVICE, name)
        except Unavailable as error:
            log.warning("an unused entry could not be deleted from the keychain: %s", error)


def _system_backend() -> KeyringBackend:
    import keyring  # an extra, and slow to import
    from keyring.backends import fail

    backend: KeyringBackend = keyring.get_keyring()
    if isinstance(backend, fail.Keyring) or type(backend).__module__.startswith("keyrings.alt"):
        raise LookupError("no keychain that stores secrets")
    return backend


async def _call(method: Callable[..., T], *arguments: str) -> T:
    try:
        return await _in_thread(method, *arguments)
    except TimeoutError:
        problem = "does not respond"
    except Exception as error:  # noqa: BLE001 - backends raise any exception
        problem = f"reported an error ({type(error).__name__})"
    raise Unavailable(
        f"The keychain of this machine {problem}.",
        hint="Unlock it and try again, or save the connection without its password.",
    )


async def _in_thread(work: Callable[..., T], *arguments: str) -> T:
    """Waits for an answer to a prompt, but not for ever."""
    async with asyncio.timeout(KEYCHAIN_WAIT_S):
        return await in_daemon_thread(partial(work, *arguments), name="keychain")


def _key_id(sealed: bytes) -> str:
    """The ID of the key in a seal, which may be damaged."""
    end = 2 + int.from_bytes(sealed[1:2], "big")
    return sealed[2:end].decode("ascii", "replace")


def _cannot_open(reason: str) -> Unavailable:
    return Unavailable(
        f"A stored secret cannot be opened: {reason}.",
        hint="Enter the secret again and save the connection; other data is not affected.",
    )

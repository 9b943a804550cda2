"""Stores users' secrets: encrypted in their rows, or in the keychain of the machine.

What stands in a row opens only there: its place (table, row, owner, column) is part of the seal,
and so is a digest of the destination it was saved for.
In single-user development the operating system's keychain keeps the secret itself, and the row only
says that it does.
"""

import asyncio
import contextlib
import hmac
import logging
import secrets
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import UUID

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

    def __str__(self) -> str:
        return f"{self.table}/{self.row.hex}/{self.owner.hex}/{self.column}/{self.bound_to}"


class Backend(Protocol):
    """What `keyring` offers of a keychain."""

    def get_password(self, service: str, username: str) -> str | None: ...
    def set_password(self, service: str, username: str, password: str) -> None: ...
    def delete_password(self, service: str, username: str) -> None: ...


class Vault:
    def __init__(
        self,
        keys: CredentialKeys,
        *,
        find_keychain: "Callable[[], Awaitable[Keychain | None]] | None" = None,
    ) -> None:
        self._keys = keys
        self._find_keychain = find_keychain
        self._finding: asyncio.Task[Keychain | None] | None = None

    async def keychain(self) -> "Keychain | None":
        """What keeps new secrets, if it is not their rows; looked for when first asked."""
        if self._find_keychain is None:
            return None
        if self._finding is None:
            self._finding = asyncio.ensure_future(self._find_keychain())
        return await asyncio.shield(self._finding)

    async def seal(self, secret: str, place: SecretLocation) -> bytes:
        if keychain := await self.keychain():
            reference = secrets.token_bytes(16)
            await keychain.keep(f"{place}/{reference.hex()}", secret)
            return _IN_KEYCHAIN + reference
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = secrets.token_bytes(_NONCE_BYTES)
        key_id = self._keys.current_id.encode()
        head = _SEALED + bytes([len(key_id)]) + key_id
        box = AESGCM(self._keys.current).encrypt(nonce, secret.encode(), head + str(place).encode())
        return head + nonce + box

    async def open(self, sealed: bytes, place: SecretLocation) -> str:
        if sealed[:1] == _IN_KEYCHAIN:
            return await self._fetch(f"{place}/{sealed[1:].hex()}")
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        end = 2 + int.from_bytes(sealed[1:2], "big")
        key = self._keys.keys.get(sealed[2:end].decode("ascii", "replace"))
        head, nonce, box = sealed[:end], sealed[end:][:_NONCE_BYTES], sealed[end:][_NONCE_BYTES:]
        if key is None:
            raise _cannot_open("its key is not among HOWDAH_CREDENTIAL_KEY")
        try:
            return AESGCM(key).decrypt(nonce, box, head + str(place).encode()).decode()
        except (InvalidTag, ValueError):
            raise _cannot_open("it, or the destination it was saved for, was changed") from None

    async def forget(self, sealed: bytes | None, place: SecretLocation) -> None:
        """Remove what the keychain holds of it; the row is its owner's business."""
        if sealed and sealed[:1] == _IN_KEYCHAIN and (keychain := await self.keychain()):
            await keychain.forget(f"{place}/{sealed[1:].hex()}")

    @contextlib.asynccontextmanager
    async def sealing(
        self, given: Mapping[SecretLocation, str | None]
    ) -> AsyncIterator[dict[str, bytes | None]]:
        """Seal by column what the block then stores; when it fails nothing stays behind."""
        sealed: dict[SecretLocation, bytes | None] = {}
        try:
            for place, secret in given.items():
                sealed[place] = None if secret is None else await self.seal(secret, place)
            yield {place.column: value for place, value in sealed.items()}
        except BaseException:
            for place, value in sealed.items():
                await self.forget(value, place)
            raise

    async def is_current(self, sealed: bytes) -> bool:
        """Whether sealing it now would be by the same means; see `howdah keys rotate`."""
        in_keychain = await self.keychain() is not None
        if in_keychain or sealed[:1] == _IN_KEYCHAIN:
            return (sealed[:1] == _IN_KEYCHAIN) is in_keychain
        return sealed[2 : 2 + sealed[1]].decode() == self._keys.current_id

    def fingerprint(self, secret: str) -> str:
        """Tells whether two secrets are the same, and nothing else without our key."""
        return hmac.digest(self._keys.current, b"fingerprint " + secret.encode(), "sha256").hex()

    async def _fetch(self, name: str) -> str:
        keychain = await self.keychain()
        found = await keychain.fetch(name) if keychain else None
        if found is None:
            raise _cannot_open("the keychain of this machine does not have it")
        return found


class Keychain:
    """The operating system's, asked in a thread of its own: it may ask the user, and block."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @classmethod
    async def find(cls, backend: Backend | None = None) -> "Keychain | None":
        """The one of this machine, if it gives back what it was given."""
        probe, name = secrets.token_hex(8), f"probe/{secrets.token_hex(8)}"
        try:
            found = cls(await _in_thread(_system_backend) if backend is None else backend)
            await found.keep(name, probe)
            answered = await found.fetch(name)
            await found.forget(name)
        except Exception as error:  # noqa: BLE001 - backends raise what they like; then there is none
            log.info("no keychain is used: %s", type(error).__name__)
            return None
        return found if answered == probe else None

    async def keep(self, name: str, secret: str) -> None:
        await _asked(self._backend.set_password, SERVICE, name, secret)

    async def fetch(self, name: str) -> str | None:
        return await _asked(self._backend.get_password, SERVICE, name)

    async def forget(self, name: str) -> None:
        try:
            await _asked(self._backend.delete_password, SERVICE, name)
        except Unavailable as error:
            log.warning("the keychain keeps an entry that is no longer used: %s", error)


def _system_backend() -> Backend:
    import keyring  # an extra, and slow to import
    from keyring.backends import fail

    backend: Backend = keyring.get_keyring()
    if isinstance(backend, fail.Keyring) or type(backend).__module__.startswith("keyrings.alt"):
        raise LookupError("no keychain that keeps a secret")
    return backend


async def _asked(question: Callable[..., T], *arguments: str) -> T:
    try:
        return await _in_thread(question, *arguments)
    except TimeoutError:
        problem = "does not answer"
    except Exception as error:  # noqa: BLE001 - backends raise what they like
        problem = f"refuses ({type(error).__name__})"
    raise Unavailable(
        f"The keychain of this machine {problem}.",
        hint="Unlock it and try again, or save the connection without its password.",
    )


async def _in_thread(work: Callable[..., T], *arguments: str) -> T:
    """In a daemon thread: one that waits for ever for its user keeps no process from ending."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def settle(method: Callable[[Any], None], value: Any) -> None:
        if not answer.done():
            method(value)

    def run() -> None:
        try:
            outcome: tuple[Callable[[Any], None], Any] = (answer.set_result, work(*arguments))
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is awaited
            outcome = (answer.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=run, name="keychain", daemon=True).start()
    async with asyncio.timeout(KEYCHAIN_WAIT_S):
        return await answer


def _cannot_open(reason: str) -> Unavailable:
    return Unavailable(
        f"A stored secret cannot be opened: {reason}.",
        hint="Enter the secret again and save it; other data is not affected.",
    )

"""Password hashing with argon2 in a bounded thread pool."""

import asyncio
import base64
import os
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

from db.concurrency.waiting import wait_up_to
from db.errors import BadInput, Overloaded
from db.security.common_passwords import is_common

T = TypeVar("T")

SHORTEST = 8
LONGEST = 1_024

PROFILE = argon2.profiles.RFC_9106_LOW_MEMORY
"""64 MiB and about 0.3 s a hash."""

_COST_PARAMETERS = ("version", "memory_cost", "time_cost", "hash_len", "salt_len")


def checked_password(password: str, *, field: str = "password") -> str:
    """Normalizes a password. Rejects impossible lengths before the cost of a hash."""
    size = len(_bytes(password))
    if size <= LONGEST:  # the time of NFC is quadratic in the worst case
        password = unicodedata.normalize("NFC", password)
        size = len(_bytes(password))
    if not SHORTEST <= size <= LONGEST:
        raise BadInput(
            f"`{field}` has {size} bytes; {SHORTEST} to {LONGEST} are allowed.",
            hint="Use a longer password." if size < SHORTEST else "Use a shorter password.",
            field=field,
        )
    return password


def checked_new_password(password: str, *, field: str = "password") -> str:
    """Like `checked_password`, for a password that is set. Refuses those that everybody tries."""
    password = checked_password(password, field=field)
    if is_common(password):
        raise BadInput(
            f"`{field}` is one of the 10,000 most common passwords, which attackers try first.",
            hint="Choose another, such as several random words.",
            field=field,
        )
    return password


class Passwords:
    """Hashes and verifies passwords; raises Overloaded if no thread is free within `wait_ms`."""

    def __init__(
        self,
        *,
        profile: argon2.Parameters = PROFILE,
        at_once: int = min(4, os.cpu_count() or 1),
        wait_ms: int = 3_000,
    ) -> None:
        self._profile = profile
        self._hasher = argon2.PasswordHasher.from_parameters(profile)
        self._dummy_hash = _make_dummy_hash(profile)
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="passwords")
        self._slots = asyncio.Semaphore(at_once)
        self._wait_ms = wait_ms

    async def hash(self, password: str) -> str:
        return await self._run(lambda: self._hasher.hash(_bytes(password)))

    async def matches(self, password: str, password_hash: str | None) -> bool:
        """Returns False without a hash, after the same time as with one."""
        return await self._run(lambda: self._matches(password, password_hash or self._dummy_hash))

    def is_weaker(self, password_hash: str) -> bool:
        """True if the hash has weaker parameters than the current profile.

        An older release running alongside keeps stronger hashes as they are.
        """
        found, ours = argon2.extract_parameters(password_hash), self._profile
        return found.type is not ours.type or any(
            getattr(found, name) < getattr(ours, name) for name in _COST_PARAMETERS
        )

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _matches(self, password: str, password_hash: str) -> bool:
        try:
            return self._hasher.verify(password_hash, _bytes(password))
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        await self._acquire_slot()
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        future.add_done_callback(lambda _: self._slots.release())
        # A cancelled caller cannot stop the thread, which keeps its slot until it ends.
        return await asyncio.shield(future)

    async def _acquire_slot(self) -> None:
        if not await wait_up_to(self._wait_ms / 1000, self._slots.acquire()):
            raise Overloaded(
                "Too many sign-ins are in progress.",
                hint="Try again in a few seconds.",
                retry_after_s=3,
                cause="sign_ins",
            )


def _bytes(password: str) -> bytes:
    return password.encode(errors="surrogatepass")


def _make_dummy_hash(profile: argon2.Parameters) -> str:
    """A hash with the normal cost and a random digest, which no password matches."""
    salt, digest = (
        base64.b64encode(os.urandom(size)).rstrip(b"=").decode()
        for size in (profile.salt_len, profile.hash_len)
    )
    cost = f"m={profile.memory_cost},t={profile.time_cost},p={profile.parallelism}"
    return f"$argon2id$v={profile.version}${cost}${salt}${digest}"

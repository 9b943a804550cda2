"""Rate limits for sign-in and sign-up, by account and by network address."""

import hmac
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

from db.client_networks import network_of
from db.errors import RateLimited
from db.postgres.engine import Database
from db.users.attempt_counts import Attempts, Limit
from db.users.tokens.device_marks import DeviceMarks

PASSWORDS_OF_ACCOUNT = Limit(10, timedelta(minutes=5))
PASSWORDS_OF_DEVICE = Limit(10, timedelta(minutes=5))
PASSWORDS_OF_SESSIONS = Limit(10, timedelta(minutes=5))
PASSWORDS_FROM_ADDRESS = Limit(100, timedelta(minutes=5))
RESET_MAILS_TO_ACCOUNT = Limit(3, timedelta(hours=1))
RESET_MAILS_FROM_ADDRESS = Limit(20, timedelta(hours=1))
RESETS_FROM_ADDRESS = Limit(20, timedelta(minutes=5))
SIGN_UPS_FROM_ADDRESS = Limit(20, timedelta(hours=1))
_WRONG_PASSWORDS = "wrong passwords"


class Throttle:
    """Counts attempts before the work, so that concurrent attempts count too."""

    def __init__(self, database: Database, key: bytes) -> None:
        self._database = database
        self._key = key
        self.marks = DeviceMarks(hmac.digest(key, b"device marks", "sha256"))

    @asynccontextmanager
    async def password(
        self, email: str, address: str, *, device_mark: str | None = None
    ) -> AsyncIterator[None]:
        """Wraps one password check; a successful check is not counted.

        A device that has signed in to this account before has attempts of its own, which others
        cannot use up. A mark of another account, or an expired one, is ignored.
        """
        if device_mark is not None and self.marks.is_of(device_mark, email):
            limits = {self._hash("device", device_mark): PASSWORDS_OF_DEVICE}
            async with self._refunded(limits, _WRONG_PASSWORDS):
                yield
            return
        limits = {
            self._hash("account", email): PASSWORDS_OF_ACCOUNT,
            self._hash("address", network_of(address)): PASSWORDS_FROM_ADDRESS,
        }
        async with self._refunded(limits, _WRONG_PASSWORDS):
            yield

    @asynccontextmanager
    async def current_password(self, user_id: UUID) -> AsyncIterator[None]:
        """Like `password`, for a user with a session, whom a stranger cannot lock out."""
        key = self._hash("sessions", user_id.hex)
        async with self._refunded({key: PASSWORDS_OF_SESSIONS}, _WRONG_PASSWORDS):
            yield

    @asynccontextmanager
    async def password_reset(self, address: str) -> AsyncIterator[None]:
        """Wraps one use of a reset token; a successful use is not counted."""
        key = self._hash("password reset", network_of(address))
        async with self._refunded({key: RESETS_FROM_ADDRESS}, "invalid reset links"):
            yield

    async def reset_mail(self, email: str, address: str) -> None:
        """Counts a request for a mail with a reset link, whether or not the account exists."""
        await self._count(
            {
                self._hash("reset mail", email): RESET_MAILS_TO_ACCOUNT,
                self._hash("reset mails", network_of(address)): RESET_MAILS_FROM_ADDRESS,
            },
            "requests for a reset link",
        )

    async def sign_up(self, address: str) -> None:
        key = self._hash("sign-up", network_of(address))
        await self._count({key: SIGN_UPS_FROM_ADDRESS}, "sign-ups from this network")

    def digest(self, email: str) -> str:
        """Tells in the audit log whether two addresses of no account are the same."""
        return self._hash("audit", email)[:8].hex()

    @asynccontextmanager
    async def _refunded(self, limits: Mapping[bytes, Limit], what: str) -> AsyncIterator[None]:
        """Counts an attempt, and removes it from the counters if the block succeeds."""
        await self._count(limits, what)
        yield
        await self._database.write(lambda session: Attempts(session).refund(limits))

    async def _count(self, limits: Mapping[bytes, Limit], what: str) -> None:
        wait_s = math.ceil(
            await self._database.write(lambda session: Attempts(session).count(limits))
        )
        if wait_s > 0:
            raise RateLimited(
                f"There were too many {what}.",
                hint=f"Try again in {wait_s} seconds.",
                retry_after_s=wait_s,
            )

    def _hash(self, kind: str, value: str) -> bytes:
        return hmac.digest(self._key, f"{kind} {value}".encode(), "sha256")

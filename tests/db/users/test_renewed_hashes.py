"""A sign-in renews a hash with weaker parameters; a concurrent change of password wins."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID

import argon2
import pytest

from db.errors import Overloaded, Unauthenticated
from db.postgres.engine import Database
from db.settings import Settings
from db.users import Identity, SignInResult, Users, open_identity
from tests.fixtures.identity import CHEAP, PASSWORD, SECRET, identity_on, sign_up

HERE = "192.0.2.1"
STRONGER = dataclasses.replace(CHEAP, time_cost=CHEAP.time_cost + 1)


@pytest.fixture
async def ada(committed: Database) -> SignInResult:
    """A user whose hash was created by an earlier release."""
    async with identity_on(committed) as earlier:
        return await sign_up(earlier)


@pytest.fixture
async def later(committed: Database) -> AsyncIterator[Identity]:
    async with open_identity(Settings(), committed, SECRET, profile=STRONGER) as identity:
        yield identity


async def sign_in(identity: Identity, password: str = PASSWORD) -> SignInResult:
    return await identity.sign_in(email="ada@example.com", password=password, address=HERE)


async def stored(database: Database, user_id: UUID) -> argon2.Parameters:
    async with database.read() as session:
        found = await Users(session).with_password(user_id)
    assert found is not None
    return argon2.extract_parameters(found[1])


def before_hashing(
    identity: Identity, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], Awaitable[object]]
) -> None:
    """Runs once between reading the old hash and writing the new one."""
    hash_ = identity._passwords.hash

    async def hash_after(password: str) -> str:
        monkeypatch.setattr(identity._passwords, "hash", hash_)
        await happens()
        return await hash_(password)

    monkeypatch.setattr(identity._passwords, "hash", hash_after)


async def test_hash_renewal_at_sign_in_ends_no_session(
    committed: Database, later: Identity, ada: SignInResult
) -> None:
    assert await stored(committed, ada.user.id) == CHEAP
    first = await sign_in(later)
    assert await stored(committed, ada.user.id) == STRONGER
    second = await sign_in(later)
    for signed_in in (ada, first, second):
        await later.verifier.verify(signed_in.session.access_token)


async def test_hash_renewal_requires_right_password(
    committed: Database, later: Identity, ada: SignInResult
) -> None:
    with pytest.raises(Unauthenticated):
        await sign_in(later, "wrong horse")
    assert await stored(committed, ada.user.id) == CHEAP


async def test_hash_renewal_keeps_stronger_hash(
    committed: Database, later: Identity, ada: SignInResult
) -> None:
    await sign_in(later)
    async with identity_on(committed) as earlier:
        await sign_in(earlier)
    assert await stored(committed, ada.user.id) == STRONGER


async def test_hash_renewal_allows_concurrent_sign_ins(
    committed: Database, later: Identity, ada: SignInResult
) -> None:
    together = await asyncio.gather(*(sign_in(later) for _ in range(6)))
    for signed_in in together:
        await later.verifier.verify(signed_in.session.access_token)
    assert await stored(committed, ada.user.id) == STRONGER


async def test_hash_renewal_does_not_undo_new_password(
    committed: Database, later: Identity, ada: SignInResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with identity_on(committed) as other:
        before_hashing(
            later,
            monkeypatch,
            lambda: other.change_password(
                ada.user.id, current=PASSWORD, new="another horse", address=HERE
            ),
        )
        overtaken = await sign_in(later)
    with pytest.raises(Unauthenticated):
        await later.verifier.verify(overtaken.session.access_token)
    with pytest.raises(Unauthenticated):
        await sign_in(later)
    await sign_in(later, "another horse")


async def test_hash_renewal_during_change_of_password_is_retried(
    committed: Database, later: Identity, ada: SignInResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with identity_on(committed) as other:
        before_hashing(other, monkeypatch, lambda: sign_in(later))
        await other.change_password(
            ada.user.id, current=PASSWORD, new="another horse", address=HERE
        )
    await sign_in(later, "another horse")
    with pytest.raises(Unauthenticated):
        await sign_in(later)


async def test_hash_renewal_failure_keeps_sign_in(
    committed: Database, later: Identity, ada: SignInResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def insufficient_capacity() -> None:
        raise Overloaded("Too many.", hint="Later.")

    before_hashing(later, monkeypatch, insufficient_capacity)
    signed_in = await sign_in(later)
    await later.verifier.verify(signed_in.session.access_token)
    assert await stored(committed, ada.user.id) == CHEAP

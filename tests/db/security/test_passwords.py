import asyncio
import dataclasses
import threading
from collections.abc import Callable, Iterator
from typing import Any

import argon2
import pytest

from db.errors import BadInput, Overloaded
from db.security.passwords import PROFILE, Passwords, checked_password


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    passwords = Passwords(profile=argon2.profiles.CHEAPEST, at_once=1, wait_ms=10)
    yield passwords
    passwords.close()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Opens at the end in any case, because a waiting thread would never end."""
    gate = threading.Event()
    yield gate
    gate.set()


async def blocked(passwords: Passwords, gate: threading.Event) -> asyncio.Task[bool]:
    """The only slot, in use until the gate opens."""
    taken = asyncio.Event()
    loop = asyncio.get_running_loop()

    def work() -> bool:
        loop.call_soon_threadsafe(taken.set)
        return gate.wait()

    task = asyncio.create_task(passwords._run(work))
    await taken.wait()
    return task


async def test_password_matches_only_its_hash(passwords: Passwords) -> None:
    hashed = await passwords.hash("correct horse")
    assert "correct horse" not in hashed
    assert await passwords.matches("correct horse", hashed)
    assert not await passwords.matches("wrong horse", hashed)
    assert hashed != await passwords.hash("correct horse")


@pytest.mark.parametrize("stored", [None, "", "no hash", "$argon2id$v=19$m=8,t=1,p=1$x$y"])
async def test_password_without_valid_hash_does_not_match(
    passwords: Passwords, stored: str | None
) -> None:
    assert not await passwords.matches("correct horse", stored)


@pytest.mark.parametrize(
    ("changes", "weaker"),
    [
        ({}, False),
        ({"time_cost": 2}, True),
        ({"memory_cost": 1_024}, True),
        ({"memory_cost": 1_024, "time_cost": 9}, True),
        ({"hash_len": 16}, True),
        ({"type": argon2.Type.I}, True),
        ({"time_cost": 9}, False),
        ({"parallelism": 1}, False),
    ],
)
def test_hash_with_weaker_parameters_is_detected(changes: dict[str, Any], *, weaker: bool) -> None:
    passwords = Passwords()
    made = argon2.PasswordHasher.from_parameters(dataclasses.replace(PROFILE, **changes)).hash("x")
    assert passwords.is_weaker(made) is weaker
    passwords.close()


async def test_password_check_takes_equal_time_without_hash() -> None:
    passwords = Passwords()
    assert argon2.extract_parameters(passwords._dummy_hash) == PROFILE
    real = await passwords.hash("correct horse")
    assert argon2.extract_parameters(real) == PROFILE
    assert [len(part) for part in passwords._dummy_hash.split("$")] == [
        len(part) for part in real.split("$")
    ]
    assert not await passwords.matches("correct horse", None)
    passwords.close()


async def test_password_hashing_is_overloaded_after_wait(
    passwords: Passwords, gate: threading.Event
) -> None:
    first = await blocked(passwords, gate)
    with pytest.raises(Overloaded) as caught:
        await passwords.hash("correct horse")
    assert caught.value.retry_after_s
    gate.set()
    await first
    await passwords.hash("correct horse")


async def test_password_slot_is_kept_until_thread_ends(
    passwords: Passwords, gate: threading.Event
) -> None:
    first = await blocked(passwords, gate)
    first.cancel()
    await asyncio.wait([first])
    with pytest.raises(Overloaded):
        await passwords.hash("correct horse")
    gate.set()
    passwords._wait_ms = 10_000
    await passwords.hash("correct horse")


@pytest.mark.parametrize("make", [lambda: "é" * 4, lambda: "x" * 1024, lambda: "\ud800" * 8])
def test_password_length_is_accepted_from_8_to_1024_bytes(make: Callable[[], str]) -> None:
    assert checked_password(make()) == make()


def test_password_is_normalized() -> None:
    assert checked_password("e\u0301le\u0301phant") == "éléphant"


@pytest.mark.parametrize(
    "password", ["", "é" * 3, "x" * 1025, "é" * 513, "a" + "\u0300\u0327" * 500_000]
)
def test_password_length_error_does_not_show_password(password: str) -> None:
    with pytest.raises(BadInput) as caught:
        checked_password(password, field="newPassword")
    assert caught.value.field == "newPassword"
    assert not password or password not in caught.value.message

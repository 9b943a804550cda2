"""A device that has signed in before is not locked out by wrong passwords of others."""

import base64
import time

import pytest

from db.errors import RateLimited, Unauthenticated
from db.users import Identity
from db.users.tokens.device_marks import LIFE_S, DeviceMarks
from tests.fixtures.identity import PASSWORD, sign_up

ADA, BOB = "ada@example.com", "bob@example.com"


async def attempt(identity: Identity, password: str, mark: str | None = None) -> str | None:
    """Signs in as Ada; returns the mark of the device."""
    signed_in = await identity.sign_in(
        email=ADA, password=password, address="192.0.2.1", device_mark=mark
    )
    return signed_in.session.device_mark


async def lock(identity: Identity, mark: str | None = None) -> None:
    for _ in range(10):
        with pytest.raises(Unauthenticated):
            await attempt(identity, "wrong password", mark)
    with pytest.raises(RateLimited):
        await attempt(identity, PASSWORD, mark)


async def test_locked_account_admits_its_known_device(identity: Identity) -> None:
    mark = (await sign_up(identity)).session.device_mark
    await lock(identity)
    assert await attempt(identity, PASSWORD, mark) == mark
    with pytest.raises(Unauthenticated):
        await attempt(identity, "wrong password", mark)
    assert await attempt(identity, PASSWORD, mark) == mark


async def test_known_device_has_as_few_attempts(identity: Identity) -> None:
    mark = (await sign_up(identity)).session.device_mark
    await lock(identity, mark)
    other = await attempt(identity, PASSWORD)  # the account itself is not locked
    assert other not in (None, mark)
    with pytest.raises(RateLimited):
        await attempt(identity, PASSWORD, mark)


async def test_mark_of_another_account_counts_as_none(identity: Identity) -> None:
    await sign_up(identity)
    bobs = (await sign_up(identity, BOB)).session.device_mark
    await lock(identity)
    for mark in (bobs, "", "x", "é" * 48):
        with pytest.raises(RateLimited):
            await attempt(identity, PASSWORD, mark)


async def test_change_of_password_is_not_locked_by_others(identity: Identity) -> None:
    ada = await sign_up(identity)
    await lock(identity)
    changed = await identity.change_password(
        ada.user.id, current=PASSWORD, new="another horse", address="192.0.2.1"
    )
    await attempt(identity, "another horse", changed.session.device_mark)


async def test_refresh_returns_no_mark(identity: Identity) -> None:
    ada = await sign_up(identity)
    assert ada.session.device_mark is not None
    assert (await identity.refresh(ada.session.refresh_token)).session.device_mark is None


def test_mark_is_renewed_after_half_its_life_and_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    marks, now = DeviceMarks(b"key"), time.time()
    mark = marks.make(ADA)
    assert len(mark) == 48
    for age, is_valid, is_kept in ((0.4, True, True), (0.6, True, False), (1.1, False, False)):
        monkeypatch.setattr(
            "db.users.tokens.device_marks.time.time", lambda at=now + age * LIFE_S: at
        )
        assert marks.is_of(mark, ADA) is is_valid
        assert (marks.kept_or_made(mark, ADA) == mark) is is_kept
    monkeypatch.undo()
    assert not DeviceMarks(b"other key").is_of(mark, ADA)


def test_mark_is_not_of_the_account_whose_address_ends_that_of_another() -> None:
    """The MAC covers body and address: the body must not grow by letters of the address."""
    marks = DeviceMarks(b"key")
    raw = base64.urlsafe_b64decode(marks.make(f"x{ADA}"))
    forged = base64.urlsafe_b64encode(raw[:18] + b"x" + raw[18:]).decode()
    assert not marks.is_of(forged, ADA)


def test_mark_has_one_spelling() -> None:
    """Each spelling would have attempts of its own."""
    marks = DeviceMarks(b"key")
    mark = next(mark for mark in iter(lambda: marks.make(ADA), None) if {"-", "_"} & set(mark))
    assert marks.is_of(mark, ADA)
    assert not marks.is_of(mark.replace("-", "+").replace("_", "/"), ADA)

"""Standbys without a server: failures, and a pool that is exhausted."""

import asyncio
from typing import Any, cast

import asyncpg
import pytest

from db.concurrency.waiting import cancel_all
from db.errors import Overloaded
from db.postgres.engine import Database
from db.postgres.monitoring.figures import DatabaseFigures
from db.postgres.route.urls import parse_url
from db.postgres.standbys import Standbys
from db.postgres.standbys import standby as standby_module
from db.postgres.standbys import standbys as standbys_module
from db.postgres.standbys.positions import BEYOND, OF_STANDBY, PositionCipher
from db.postgres.standbys.standby import StandbyLife
from tests.fixtures.patience import patience


class FailingPrimary:
    """Fails as asyncpg does when a server ends while it answers, until the test lets it answer."""

    def __init__(self) -> None:
        self.position: int | None = None

    def read(self, *, reserved: bool) -> "FailingPrimary":
        assert reserved
        return self

    async def value(self, _: object) -> int:
        if self.position is None:
            raise asyncpg.InternalClientError("got result for unknown protocol state 3")
        return self.position


async def test_position_is_asked_for_again_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standbys_module, "SAMPLE_S", 0)
    primary: Any = FailingPrimary()
    cipher = PositionCipher(b"key", system="1")
    standbys = Standbys(cast("Database", primary), [], cipher=cipher)
    try:
        assert await standbys.position_of(None) == BEYOND
        primary.position = 7
        async with patience():
            while not standbys._samples:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0)
        assert standbys._samples[0][1] == 7
    finally:
        await standbys.close()


class HangingDriver:
    """The part of an asyncpg connection that a lease uses. It answers nothing."""

    def __init__(self) -> None:
        self.was_asked = asyncio.Event()

    async def fetch(self, *_: object) -> None:
        self.was_asked.set()
        await asyncio.Event().wait()

    def is_closed(self) -> bool:
        return False

    def is_in_transaction(self) -> bool:
        return False

    def terminate(self) -> None:
        """It has no connection."""

    async def close(self, **_: object) -> None:
        """It has no connection."""


async def test_exhausted_pool_of_a_standby_counts_as_no_overload(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its reads go to the primary, so that no caller sees the error."""
    driver = HangingDriver()

    async def connect(_life: StandbyLife, _deadline: float) -> Any:
        return driver

    monkeypatch.setattr(standby_module, "WAIT_MS", 0)
    monkeypatch.setattr(StandbyLife, "_connect", connect)
    url = parse_url("postgresql://ann@standby/howdah")
    life = StandbyLife(url, "started", pool_size=1, figures=DatabaseFigures())
    before = Overloaded.causes.copy()

    async def read() -> None:
        await life.database.read().rows(OF_STANDBY)

    reading = asyncio.create_task(read())
    async with patience():
        await driver.was_asked.wait()
    with pytest.raises(Overloaded):
        await read()
    assert Overloaded.causes == before
    await cancel_all([reading])
    await life.end()

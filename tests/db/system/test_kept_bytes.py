import asyncio

import pytest

from db.postgres.engine import Database, ReadSession
from db.system import kept_bytes
from db.system.kept_bytes import KeptBytes
from tests.fixtures.patience import patience


async def test_kept_bytes_are_counted_again_after_an_unexpected_error(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_bytes, "FIRST_WITHIN_S", 0)
    monkeypatch.setattr(kept_bytes, "EVERY_S", 0)
    attempts = 0
    is_counted_again = asyncio.Event()

    async def count(_: ReadSession) -> int:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise KeyError("an error of the driver")
        is_counted_again.set()
        return 7

    async with KeptBytes().counting(database, {"files": count}), patience():
        await is_counted_again.wait()

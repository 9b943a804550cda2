import asyncio

import pytest

from db.postgres.engine import Database
from db.postgres.sessions import ReadSession
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

    async def always() -> bool:
        return True

    background = KeptBytes().counting(database, {"files": count}, is_in_charge=always)
    async with background, patience():
        await is_counted_again.wait()


async def test_one_process_counts_kept_bytes_until_another_is_in_charge(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figure of a process that counted before must not be the maximum for ever."""
    monkeypatch.setattr(kept_bytes, "FIRST_WITHIN_S", 0)
    monkeypatch.setattr(kept_bytes, "EVERY_S", 0)
    turns = iter([False, True])
    kept, has_ended = KeptBytes(), asyncio.Event()
    seen: list[dict[str, int]] = []

    async def is_in_charge() -> bool:
        seen.append(kept.by_kind)
        if len(seen) > 3:
            has_ended.set()
        return next(turns, False)

    async def count(_: ReadSession) -> int:
        return 7

    async with kept.counting(database, {"files": count}, is_in_charge=is_in_charge), patience():
        await has_ended.wait()
    assert seen[:4] == [{}, {}, {"files": 7}, {"files": 0}]

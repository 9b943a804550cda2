from typing import Any

import msgspec
import pytest

from db.connections import Preferences
from db.errors import BadInput, Conflict, NotFound, TooLarge
from db.kit.base import OwnerId
from db.postgres.engine import Database


class Drawer:
    """Runs each call in its own transaction."""

    def __init__(self, database: Database, owner: OwnerId) -> None:
        self.database = database
        self.owner = owner

    async def do(self, work: Any) -> Any:
        return await self.database.transaction(
            lambda session: work(Preferences(session, self.owner))
        )


@pytest.fixture
def mine(database: Database, owner: OwnerId) -> Drawer:
    return Drawer(database, owner)


@pytest.fixture
def theirs(database: Database, other_owner: OwnerId) -> Drawer:
    return Drawer(database, other_owner)


@pytest.mark.parametrize("value", [None, False, 0, "", [], {"b": [1, None], "a": "\0ü"}, 2**80])
async def test_preference_keeps_any_json(mine: Drawer, value: Any) -> None:
    await mine.do(lambda p: p.put("editor.theme", value))
    found = await mine.do(lambda p: p.of_key("editor.theme"))
    assert msgspec.json.decode(found.value) == value


async def test_preferences_are_separate_for_each_owner(mine: Drawer, theirs: Drawer) -> None:
    await mine.do(lambda p: p.put("theme", "dark"))
    await theirs.do(lambda p: p.put("theme", "light"))
    assert [row.value for row in await mine.do(lambda p: p.list_all())] == ['"dark"']
    await theirs.do(lambda p: p.drop("theme"))
    assert await theirs.do(lambda p: p.of_key("theme")) is None
    assert await mine.do(lambda p: p.of_key("theme")) is not None
    with pytest.raises(NotFound):
        await theirs.do(lambda p: p.drop("theme"))


async def test_preference_version_detects_lost_update(mine: Drawer) -> None:
    assert (await mine.do(lambda p: p.put("a", 1, expected_version=0))).version == 1
    assert (await mine.do(lambda p: p.put("a", 2))).version == 2
    assert (await mine.do(lambda p: p.put("a", 3, expected_version=2))).version == 3
    for stale in (0, 2, 4):
        with pytest.raises(Conflict):
            await mine.do(lambda p, stale=stale: p.put("a", 4, expected_version=stale))
    with pytest.raises(Conflict):
        await mine.do(lambda p: p.put("b", 1, expected_version=1))
    assert (await mine.do(lambda p: p.of_key("a"))).value == "3"


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 201, "ü", "a\n", ".hidden"])
async def test_preference_key_is_validated(mine: Drawer, key: str) -> None:
    with pytest.raises(BadInput):
        await mine.do(lambda p: p.put(key, 1))


async def test_preferences_are_limited_in_number_and_size(
    mine: Drawer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.connections.preferences.MAX_PREFERENCES", 1)
    with pytest.raises(TooLarge):
        await mine.do(lambda p: p.put("a", "x" * 65_535))
    await mine.do(lambda p: p.put("a", "x" * 65_534))
    with pytest.raises(TooLarge):
        await mine.do(lambda p: p.put("b", 1))
    await mine.do(lambda p: p.put("a", 1))
    with pytest.raises(BadInput):
        await mine.do(lambda p: p.put("a", "\ud800"))


async def test_preferences_are_limited_in_their_size_together(
    mine: Drawer, theirs: Drawer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.connections.preferences.MAX_BYTES", 11)
    await theirs.do(lambda p: p.put("z", "x" * 8))
    await mine.do(lambda p: p.put("a", "éé"))
    await mine.do(lambda p: p.put("b", "éx"))
    with pytest.raises(TooLarge) as caught:
        await mine.do(lambda p: p.put("b", "éxx"))
    assert caught.value.field == "value"
    with pytest.raises(TooLarge):
        await mine.do(lambda p: p.put("c", 1))
    monkeypatch.setattr("db.connections.preferences.MAX_BYTES", 5)
    await mine.do(lambda p: p.put("a", 1))  # what has become too much can be shortened
    with pytest.raises(TooLarge):
        await mine.do(lambda p: p.put("a", 12))

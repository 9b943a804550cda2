"""Replicas with settings that differ are refused in production, and degraded in development."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from db.errors import BadInput
from db.objects.store import open_objects
from db.postgres.engine import Database
from db.replicas import Heartbeat
from db.replicas.fingerprints import Fingerprints, find_differences, take_fingerprints
from db.replicas.joining import join_replicas
from db.security.keys import Keys, SecretKey, parse_credential_keys
from db.settings import Settings

KEY = "k1:" + "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
OTHER_KEY = "k1:" + "IB8eHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgE="
NEW_KEY = OTHER_KEY.replace("k1", "k2") + "," + KEY


def keys(signing: str = "first", credentials: str = KEY) -> Keys:
    return Keys(SecretKey(signing.encode()), parse_credential_keys(credentials))


async def taken(
    folder: Path, *, own: Keys | None = None, events: str | None = None, objects: str | None = None
) -> Fingerprints:
    store = open_objects(objects, data_dir=folder)
    return await take_fingerprints(own or keys(), store, events)


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> set[str]:
    return {name for name in one.keys() & other.keys() if one[name] != other[name]}


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({}, set()),
        ({"own": keys(signing="second")}, {"secret_key"}),
        ({"own": keys(credentials=OTHER_KEY)}, {"credential_key/k1"}),
        ({"own": keys(credentials=NEW_KEY)}, set()),
        ({"events": "redis://redis.internal:6379/0"}, {"events_url"}),
        ({"objects": "s3://bucket/prefix"}, {"objects_url"}),
    ],
)
async def test_fingerprints_differ_with_what_replicas_must_share(
    tmp_path: Path, change: dict[str, Any], names: set[str]
) -> None:
    ours = await taken(tmp_path)
    assert differing(ours, await taken(tmp_path, **change)) == names


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("redis://a:6379/0", "rediss://user:secret@A:6379/0", True),
        ("redis://a:6379/0", "redis://a:6379/1", False),
        ("redis://a", "nats://a", False),
        ("nats://a:4222,nats://b:4222", "nats://b:4222,a:4222", True),
    ],
)
async def test_event_bus_is_compared_by_kind_and_place(
    tmp_path: Path, one: str, other: str, *, same: bool
) -> None:
    found = [await taken(tmp_path, events=url) for url in (one, other)]
    assert (differing(*found) == set()) is same


async def test_folder_is_the_same_by_another_path_and_differs_from_another(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "one")
    one, link, two = [await taken(tmp_path / name) for name in ("one", "link", "two")]
    assert differing(one, link) == set()
    assert differing(one, two) == {"objects_url"}
    assert [path.name for path in (tmp_path / "one" / "objects").iterdir()] == [".howdah-folder"]


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        ({"credentials": OTHER_KEY}, "HOWDAH_CREDENTIAL_KEY"),
        ({"credentials": OTHER_KEY.replace("k1", "k3")}, "HOWDAH_CREDENTIAL_KEY"),
        ({"events_url": "redis://elsewhere"}, "HOWDAH_EVENTS_URL"),
        ({"folder": "two"}, "HOWDAH_OBJECTS_URL"),
    ],
)
async def test_production_replica_that_differs_is_refused(
    committed: Database, tmp_path: Path, change: dict[str, str], setting: str
) -> None:
    def joined(
        env: Any = "production",
        *,
        credentials: str = KEY,
        folder: str = "one",
        events_url: str | None = None,
    ) -> contextlib.AbstractAsyncContextManager[Heartbeat]:
        settings = Settings(env=env, events_url=events_url)
        store = open_objects(None, data_dir=tmp_path / folder)
        return join_replicas(settings, committed, keys(credentials=credentials), store)

    async with joined(), joined() as second:
        with pytest.raises(BadInput, match=f"{setting} is not the same") as refused:
            async with joined(**change):
                pass
        assert refused.value.hint
        assert await find_differences(committed, second.fingerprints) == []
        async with joined("development", **change) as other:
            for heartbeat in (second, other):
                found = await find_differences(committed, heartbeat.fingerprints)
                assert [difference.setting for difference in found] == [setting]
        assert await find_differences(committed, second.fingerprints) == []


async def test_secret_key_may_be_replaced_one_replica_after_the_other(
    committed: Database, tmp_path: Path
) -> None:
    store, settings = open_objects(None, data_dir=tmp_path), Settings(env="production")
    async with (
        join_replicas(settings, committed, keys("first"), store),
        join_replicas(settings, committed, keys("second"), store) as heartbeat,
    ):
        found = await find_differences(committed, heartbeat.fingerprints)
        assert [difference.setting for difference in found] == ["HOWDAH_SECRET_KEY"]

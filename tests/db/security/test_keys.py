import base64
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from db.errors import BadInput
from db.security.keys import (
    CredentialKeys,
    SecretKey,
    add_credential_key,
    checked_secret,
    load_credential_keys,
    load_keys,
    parse_credential_keys,
)
from db.settings import Settings

SECRET = "Zr8kq1vN0tY6bWc3pXs5dLf7gHj9mAe2uQi4oRz-"
KEY = base64.b64encode(bytes(range(32))).decode()
OTHER_KEY = base64.b64encode(bytes(range(100, 132))).decode()


def production(**settings: Any) -> Settings:
    given = {"secret_key": SECRET, "credential_key": f"k1:{KEY}"} | settings
    return Settings(env="production", **given)


def test_production_keys_come_from_settings_only(tmp_path: Path) -> None:
    keys = load_keys(production(data_dir=tmp_path))
    assert keys.secret.derive("a") == SecretKey(SECRET.encode()).derive("a")
    assert (keys.credentials.current_id, keys.credentials.current) == ("k1", bytes(range(32)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["secret_key", "credential_key"])
def test_production_requires_configured_keys(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput) as caught:
        load_keys(production(data_dir=tmp_path, **{name: None}))
    assert f"HOWDAH_{name.upper()}" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "secret",
    [
        "",
        SECRET[:31],
        "changeme" * 5,
        "a" * 64,
        "0123456789abcdef" * 4,
        "abcdefghijklmnopqrstuvwxyz0123456789",
        "your-secret-key-change-me-in-production",
        "django-insecure-secret-key-for-development",
        "howdah-test-secret-howdah-test-password",
    ],
)
def test_secret_key_that_is_weak_is_refused_without_showing_it(secret: str) -> None:
    with pytest.raises(BadInput) as caught:
        load_keys(production(secret_key=secret))
    assert "HOWDAH_SECRET_KEY" in caught.value.message
    assert not secret or secret not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("size", [32, 48])
def test_secret_key_that_is_random_is_accepted(size: int) -> None:
    for _ in range(100):
        random = os.urandom(size)
        assert checked_secret(random.hex(), name="X")
        assert checked_secret(base64.b64encode(random).decode(), name="X")


def test_development_keys_are_created_once_and_private(tmp_path: Path) -> None:
    laptop = Settings(data_dir=tmp_path / "new", env="development")
    with ThreadPoolExecutor(8) as threads:
        keys = list(threads.map(lambda _: load_keys(laptop), range(8)))
    assert len({each.secret.derive("a") for each in keys}) == 1
    assert len({each.credentials.current for each in keys}) == 1
    files = list((tmp_path / "new").iterdir())
    assert sorted(file.name for file in files) == ["credential_key", "secret_key"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_created_and_rotated_keys_survive_a_power_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name of a file is on the disk only when its folder is."""
    inodes: list[int] = []
    monkeypatch.setattr("os.fsync", lambda descriptor: inodes.append(os.fstat(descriptor).st_ino))
    laptop = Settings(data_dir=tmp_path, env="development")
    for write in (load_credential_keys, add_credential_key):
        inodes.clear()
        write(laptop)
        written = [(tmp_path / "credential_key").stat().st_ino, tmp_path.stat().st_ino]
        assert inodes == written


def test_damaged_key_file_is_reported_and_kept(tmp_path: Path) -> None:
    laptop = Settings(data_dir=tmp_path, env="development")
    (tmp_path / "secret_key").write_text("")
    with pytest.raises(BadInput):
        load_keys(laptop)
    assert (tmp_path / "secret_key").read_text() == ""


def test_secret_and_credential_key_must_differ() -> None:
    with pytest.raises(BadInput) as caught:
        load_keys(production(secret_key=KEY))
    assert "same" in caught.value.message


def test_credential_keys_seal_with_first_and_open_with_all() -> None:
    keys = parse_credential_keys(f"new:{OTHER_KEY}, old:{KEY}")
    assert keys.current_id == "new"
    assert keys.keys["old"] == bytes(range(32))


@pytest.mark.parametrize(
    "text",
    [
        "",
        KEY,
        f":{KEY}",
        "k1:",
        "k1:not base64",
        f"k1:{KEY[:-8]}",
        f"k 1:{KEY}",
        f"k1:{KEY},k1:{OTHER_KEY}",
        f"k1:{KEY},",
        "k1:" + base64.b64encode(bytes(32)).decode(),
    ],
)
def test_credential_key_that_is_malformed_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        load_keys(production(credential_key=text))
    assert "HOWDAH_CREDENTIAL_KEY" in caught.value.message
    assert KEY not in caught.value.message + caught.value.hint


def test_derived_keys_are_independent() -> None:
    secret = SecretKey(SECRET.encode())
    assert secret.derive("a") != secret.derive("b")
    assert len(secret.derive("a")) == 32


def test_keys_are_not_in_repr() -> None:
    settings = production()
    keys = load_keys(settings)
    shown = f"{settings!r} {keys!r} {keys.secret!r} {keys.credentials!r}"
    for secret in (SECRET, KEY, repr(bytes(range(32)))[2:-1], repr(SECRET.encode())[2:-1]):
        assert secret not in shown
    assert "k1" in repr(CredentialKeys("k1", {"k1": b"x"}))

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from db.connections import Connections, SecretRotation, secret_locations
from db.errors import Unavailable
from db.kit.base import OwnerId
from db.own_database import migrate, open_own_database
from db.postgres.engine import Database
from db.security.keys import load_keys
from db.security.vault import SecretLocation, Vault
from db.settings import Settings
from db.workbench import SavedConnections
from graph.commands.database.keys import _rotate, rotate_keys


async def secret_of(database: Database, vault: Vault, owner: OwnerId, row_id: Any) -> str:
    async with database.read() as session:
        row, sealed = await Connections(session, owner).with_secrets(row_id)
    assert sealed.sealed_password is not None
    places = secret_locations(row._asdict(), row=row_id, owner=owner)
    return await vault.open(sealed.sealed_password, places["password"])


async def test_keys_rotate_reseals_under_new_key(
    committed: Database,
    committed_url: str,
    committed_owner: OwnerId,
    tmp_path: Path,
    workbench: Any,
) -> None:
    before = Settings(env="development", data_dir=tmp_path, database_url=committed_url)
    old = load_keys(before).credentials
    saver = SavedConnections(committed, Vault(old), workbench)
    whole = {"name": "a", "host": "h", "database": "d", "username": "u"}
    row = await saver.add(committed_owner, {**whole, "password": "kept", "save_password": True})
    new = "new:" + "QkFzZTY0IG9mIGEga2V5IHRoYXQgaXMgMzIgYnl0ZXM="
    kept = (tmp_path / "credential_key").read_text().strip()
    after = Settings(
        env="development",
        data_dir=tmp_path,
        database_url=committed_url,
        credential_key=f"{new},{kept}",
    )
    assert await _rotate(after) == (1, [])
    only_new = Settings(env="development", data_dir=tmp_path, credential_key=new)
    vault = Vault(load_keys(only_new).credentials)
    assert await secret_of(committed, vault, committed_owner, row.id) == "kept"


async def test_keys_rotate_beside_a_running_server(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    async with open_own_database(settings) as running:
        await migrate(running)
        assert await _rotate(settings) == (0, [])


def test_keys_rotate_creates_key_in_development(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(env="development", data_dir=tmp_path)
    old = load_keys(settings).credentials

    async def nothing(_: Settings) -> SecretRotation:
        return SecretRotation(0, [])

    monkeypatch.setattr("graph.commands.database.keys._rotate", nothing)
    rotate_keys(settings)
    new = load_keys(settings).credentials
    assert new.current_id != old.current_id
    assert new.keys[old.current_id] == old.current
    assert (tmp_path / "credential_key").stat().st_mode & 0o777 == 0o600
    assert "Restart" in capsys.readouterr().out


def test_rotate_names_secrets_that_do_not_open_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = UUID(int=7)
    place = SecretLocation("connections", row, OwnerId(UUID(int=1)), "password", "digest")

    async def one_of_two(_: Settings) -> SecretRotation:
        return SecretRotation(1, [place])

    monkeypatch.setattr("graph.commands.database.keys._rotate", one_of_two)
    with pytest.raises(Unavailable, match="1 secrets could not be opened") as caught:
        rotate_keys(Settings(env="development", data_dir=tmp_path))
    assert "HOWDAH_CREDENTIAL_KEY" in str(caught.value.hint)
    output = capsys.readouterr()
    assert "Sealed 1 secrets" in output.out
    assert str(row) in output.err
    assert "Remove the older keys" not in output.out

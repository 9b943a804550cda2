"""Write access to a backup file does not decide what a restore loads."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import pytest

from db.backup import BackupKeys
from db.errors import BadInput
from db.kit.base import OwnerId
from db.objects.store import ObjectStore, open_objects
from db.postgres.engine import Database
from db.security.keys import CredentialKeys
from tests.db.backup.test_objects import Files
from tests.fixtures.connected import connected
from tests.fixtures.signed_backups import CREDENTIAL_KEYS, KEYS, backup, restore

NOWHERE = "postgresql://none:none@127.0.0.1:1/none"
"""A restore that gets as far as its database fails here with another error."""
OTHERS = BackupKeys(CredentialKeys("k1", {"k1": bytes(range(1, 33))}))

Members = list[tuple[str, bytes]]


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return open_objects(None, data_dir=tmp_path / "objects")


@pytest.fixture
async def archive(
    committed: Database,
    committed_owner: OwnerId,
    objects: ObjectStore,
    tmp_path: Path,
    committed_url: str,
) -> Path:
    await Files(committed, objects, committed_owner).store(b"for Ada", b"for Bob")
    await backup(committed_url, tmp_path / "b.howdah", objects=objects)
    return tmp_path / "b.howdah"


def rewrite(path: Path, change: Callable[[dict[str, bytes]], Members | None]) -> Path:
    """A copy with changed members, which ZipFile writes with correct checksums of its own."""
    with ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    changed = change(members) or list(members.items())
    other = path.with_name("changed.howdah")
    with ZipFile(other, "w", ZIP_STORED) as new:
        for name, data in changed:
            new.writestr(name, data)
    return other


def set_manifest(members: dict[str, bytes], **changes: Any) -> None:
    manifest = json.loads(members["manifest.json"]) | changes
    members["manifest.json"] = json.dumps(manifest).encode()


def set_rows(members: dict[str, bytes], table: str, rows: bytes) -> None:
    """Changes rows with their count and checksum in the manifest."""
    members[f"rows/{table}"] = rows
    tables = json.loads(members["manifest.json"])["tables"]
    for entry in tables:
        if entry["name"] == table:
            entry |= {"rows": rows.count(b"\n"), "sha256": hashlib.sha256(rows).hexdigest()}
    set_manifest(members, tables=tables)


def change_row(members: dict[str, bytes]) -> None:
    users = members["rows/users"]
    assert b"@" in users
    set_rows(members, "users", users.replace(b"@", b"@evil."))


def truncate_table(members: dict[str, bytes]) -> None:
    files = members["rows/files"]
    set_rows(members, "files", files[files.index(b"\n") + 1 :])


def swap_objects(members: dict[str, bytes]) -> None:
    """Exchanges the bytes of two files, and their checksums in the list and the manifest."""
    one, two = (json.loads(line) for line in members["objects.jsonl"].splitlines())
    for field in ("start", "sha256"):
        one[field], two[field] = two[field], one[field]
    lines = [json.dumps(entry, separators=(",", ":")).encode() + b"\n" for entry in (one, two)]
    members["objects.jsonl"] = b"".join(lines)
    listed = json.loads(members["manifest.json"])["objects"]
    checksum = hashlib.sha256(members["objects.jsonl"]).hexdigest()
    set_manifest(members, objects=listed | {"sha256": checksum})


def sign_with_other_key(members: dict[str, bytes]) -> None:
    """The signature of another key, with the fingerprint of the right one."""
    change_row(members)
    right = json.loads(members["signature.json"])
    forged = json.loads(OTHERS.sign(members["manifest.json"]))
    members["signature.json"] = json.dumps(right | {"hmac_sha256": forged["hmac_sha256"]}).encode()


def move_first_to_end(members: dict[str, bytes]) -> Members:
    first, *rest = members.items()
    return [*rest, first]


SIGNED: dict[str, Callable[[dict[str, bytes]], Members | None]] = {
    "a changed row": change_row,
    "a truncated table": truncate_table,
    "swapped objects": swap_objects,
    "a later time": lambda members: set_manifest(members, created_at="2030-01-01T00:00:00Z"),
    "another version": lambda members: set_manifest(members, howdah="0.0.1"),
    "a forged signature": sign_with_other_key,
    "a signature that is none": lambda members: members.update({"signature.json": b"{}"}),
}
DAMAGED: dict[str, Callable[[dict[str, bytes]], Members | None]] = {
    "swapped members": lambda members: members.update(
        {"rows/users": members["rows/files"], "rows/files": members["rows/users"]}
    ),
    "a truncated member": lambda members: members.update(
        {"rows/files": members["rows/files"][:-40]}
    ),
    "a truncated object": lambda members: members.update({"objects": members["objects"][:-1]}),
    "another order": move_first_to_end,
    "an additional member": lambda members: [*members.items(), ("rows/more", b"")],
}


@pytest.mark.parametrize("change", SIGNED | DAMAGED)
async def test_restore_refuses_a_changed_backup_before_it_connects(
    archive: Path, objects: ObjectStore, change: str
) -> None:
    changed = rewrite(archive, (SIGNED | DAMAGED)[change])
    message = "signature does not match" if change in SIGNED else "damaged"
    for accept_unverified in (False, True):
        with pytest.raises(BadInput, match=message) as caught:
            await restore(NOWHERE, changed, objects=objects, accept_unverified=accept_unverified)
        assert "Nothing was changed" in (caught.value.hint or "")


async def test_restore_refuses_two_members_of_one_name(
    archive: Path, objects: ObjectStore, recwarn: pytest.WarningsRecorder
) -> None:
    """Readers of a zip differ in which one they read."""
    double = rewrite(archive, lambda members: [("rows/users", b""), *members.items()])
    assert "Duplicate name" in str(recwarn.pop(UserWarning).message)
    with pytest.raises(BadInput, match="damaged"):
        await restore(NOWHERE, double, objects=objects)


@pytest.mark.parametrize(
    ("origin", "message"),
    [("stripped", "is not signed"), ("foreign", "was signed by another installation")],
)
async def test_restore_of_an_unverified_backup_needs_consent(
    archive: Path,
    committed_url: str,
    empty_url: str,
    objects: ObjectStore,
    caplog: pytest.LogCaptureFixture,
    origin: str,
    message: str,
) -> None:
    def change(members: dict[str, bytes]) -> None:
        change_row(members)
        if origin == "stripped":
            del members["signature.json"]
        else:
            members["signature.json"] = OTHERS.sign(members["manifest.json"])

    changed = rewrite(archive, change)
    with pytest.raises(BadInput, match=message) as caught:
        await restore(empty_url, changed, objects=objects)
    assert "its author chooses the accounts" in (caught.value.hint or "")
    assert await fetch(empty_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    await restore(empty_url, changed, objects=objects, accept_unverified=True)
    assert message in caplog.text
    assert "@evil." in await fetch(empty_url, "SELECT min(email) FROM users")


async def test_restore_verifies_with_a_retired_key(
    archive: Path, empty_url: str, committed_url: str, objects: ObjectStore, tmp_path: Path
) -> None:
    new = {"k2": bytes(range(2, 34))}
    rotated = BackupKeys(CredentialKeys("k2", new | dict(CREDENTIAL_KEYS.keys)))
    await restore(empty_url, archive, objects=objects, keys=rotated)
    await backup(committed_url, tmp_path / "new", objects=objects, keys=rotated)
    only_new = BackupKeys(CredentialKeys("k2", new))
    for path, keys in ((tmp_path / "new", KEYS), (archive, only_new)):
        with pytest.raises(BadInput, match="signed by another installation"):
            await restore(NOWHERE, path, objects=objects, keys=keys)


async def fetch(url: str, sql: str) -> Any:
    async with connected(url) as connection:
        return await connection.fetchval(sql)

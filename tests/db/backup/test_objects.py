"""Backup and restore of the bytes of files, in a folder and on S3."""

import hashlib
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import httpx
import pytest

from db.backup.bundle import ObjectsReader
from db.backup.objects import copy_objects_in
from db.connections import Connections, Preferences, parse_draft
from db.errors import BadInput, NotFound, Unavailable
from db.installation import SweptStore, recognize
from db.kit.base import OwnerId, new_id
from db.objects.store import ObjectStore, open_objects
from db.postgres.engine import Database
from db.security.keys import CredentialKeys
from db.security.vault import SecretLocation, Vault
from db.storage import (
    FileRow,
    NewBsp,
    NewFile,
    Quota,
    delete_file,
    object_key,
    read_bytes,
    store_bytes,
)
from tests.db.backup.test_backup import everything_of
from tests.fixtures.connected import rows
from tests.fixtures.patience import PATIENCE_S
from tests.fixtures.repository_storage import RepositoryStorage
from tests.fixtures.signed_backups import backup, restore, rewritten

SIZES = (0, 1, 100_000, 2_500_000)
"""Of the last one the bytes come in several pieces."""


@pytest.fixture
def other_objects(objects: ObjectStore, s3_bucket: str, tmp_path: Path) -> ObjectStore:
    """Target of a restore: S3 for a backup from a folder, and a folder for one from S3."""
    there = f"s3://{s3_bucket}/restored" if objects.kind == "file" else None
    return open_objects(there, data_dir=tmp_path / "restored")


@pytest.fixture
def other_folder(tmp_path: Path) -> ObjectStore:
    return open_objects(None, data_dir=tmp_path / "second")


class Files:
    """A person's files, as the server stores them."""

    def __init__(self, database: Database, objects: ObjectStore, owner: OwnerId) -> None:
        self.storage = RepositoryStorage(database, quota=Quota())
        self.objects = objects
        self.owner = owner

    async def store(self, *contents: bytes) -> list[FileRow]:
        bucket = await self.storage.create_bucket(self.owner, new_id().hex, private=True)
        return [
            await store_bytes(
                self.storage,
                self.objects,
                await self.storage.create_file(
                    self.owner, NewFile(bucket.id, f"{number}/é", len(content), "video/x-elephant")
                ),
                in_parts(content),
            )
            for number, content in enumerate(contents)
        ]


async def in_parts(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 60_000):
        yield content[start : start + 60_000]


async def contents(objects: ObjectStore, files: Sequence[FileRow]) -> list[bytes]:
    return [
        b"".join([piece async for piece in read_bytes(objects, file, start=0, end=file.size)])
        for file in files
    ]


async def keys(objects: ObjectStore) -> list[str]:
    return sorted([one.key async for batch in objects.list("") for one in batch])


def key_of(file: FileRow) -> str:
    assert file.object_id is not None
    return object_key(file.id, file.object_id)


async def test_restore_restores_every_object(
    committed: Database,
    committed_url: str,
    committed_owner: OwnerId,
    target_url: str,
    objects: ObjectStore,
    other_objects: ObjectStore,
    tmp_path: Path,
) -> None:
    given = [os.urandom(size) for size in SIZES]
    files = await Files(committed, objects, committed_owner).store(*given)
    made = await backup(committed_url, tmp_path / "b.howdah", objects=objects)
    assert (made.objects.count, made.objects.bytes) == (len(SIZES), sum(SIZES))
    assert (made.objects.deleted, made.objects.lost) == (0, 0)
    assert await restore(target_url, tmp_path / "b.howdah", objects=other_objects) == made
    assert await contents(other_objects, files) == given
    assert await keys(other_objects) == sorted(map(key_of, files))


async def test_restore_keeps_the_headers_of_objects(
    committed: Database,
    committed_url: str,
    committed_owner: OwnerId,
    target_url: str,
    folder: ObjectStore,
    s3_bucket: str,
    tmp_path: Path,
) -> None:
    [file] = await Files(committed, folder, committed_owner).store(b"Dumbo")
    await backup(committed_url, tmp_path / "b.howdah", objects=folder)
    s3 = open_objects(f"s3://{s3_bucket}/restored", data_dir=tmp_path)
    await restore(target_url, tmp_path / "b.howdah", objects=s3)
    link = f"{os.environ['AWS_ENDPOINT_URL']}/{s3_bucket}/restored/{key_of(file)}"
    async with httpx.AsyncClient(timeout=PATIENCE_S) as anyone:
        answer = await anyone.get(link)
    assert (answer.content, answer.headers["content-type"]) == (b"Dumbo", "video/x-elephant")
    assert "filename*=UTF-8''%C3%A9" in answer.headers["content-disposition"]


class DeletingMeanwhile(ObjectStore):
    """A store in which a file is deleted after the snapshot and before it is copied."""

    def __init__(self, files: Files, doomed: FileRow) -> None:
        self.__dict__ = files.objects.__dict__
        self._files = files
        self._doomed = doomed

    async def read(self, key: str, *, start: int, end: int) -> AsyncGenerator[bytes]:
        if key == key_of(self._doomed):
            owner, store = self._files.owner, self._files.objects
            await delete_file(self._files.storage, store, owner, self._doomed.id)
        async for piece in super().read(key, start=start, end=end):
            yield piece


async def test_backup_counts_files_deleted_meanwhile(
    committed: Database,
    committed_url: str,
    committed_owner: OwnerId,
    target_url: str,
    folder: ObjectStore,
    other_folder: ObjectStore,
    tmp_path: Path,
) -> None:
    files = Files(committed, folder, committed_owner)
    kept, doomed, also_kept = await files.store(b"kept", b"doomed", b"also kept")
    store = DeletingMeanwhile(files, doomed)
    made = await backup(committed_url, tmp_path / "b.howdah", objects=store)
    assert (made.objects.count, made.objects.deleted, made.objects.lost) == (2, 1, 0)
    await restore(target_url, tmp_path / "b.howdah", objects=other_folder)
    assert await contents(other_folder, [kept, also_kept]) == [b"kept", b"also kept"]
    with pytest.raises(NotFound):
        await contents(other_folder, [doomed])


async def test_backup_has_the_bytes_of_files_that_servers_delete_meanwhile(
    committed: Database,
    committed_url: str,
    committed_owner: OwnerId,
    target_url: str,
    folder: ObjectStore,
    other_folder: ObjectStore,
    tmp_path: Path,
) -> None:
    await recognize(committed, keep=timedelta(days=1))
    swept = SweptStore(committed, folder)
    folder.may_delete = swept.may_delete  # as db.services does
    files = Files(committed, folder, committed_owner)
    stored = await files.store(b"kept", b"doomed", b"also kept")
    store = DeletingMeanwhile(files, stored[1])
    made = await backup(committed_url, tmp_path / "b.howdah", objects=store)
    assert (made.objects.count, made.objects.deleted, made.objects.lost) == (3, 0, 0)
    await restore(target_url, tmp_path / "b.howdah", objects=other_folder)
    assert await contents(other_folder, stored) == [b"kept", b"doomed", b"also kept"]
    assert await swept.may_delete()


async def overwrite(objects: ObjectStore, key: str, content: bytes) -> None:
    await objects.put(key, in_parts(content), size=len(content))


HARM: dict[str, Callable[[ObjectStore, str], Any]] = {
    "gone": lambda objects, key: objects.delete([key]),
    "changed": lambda objects, key: overwrite(objects, key, b"x" * 2_500_000),
    "cut short": lambda objects, key: overwrite(objects, key, b"x"),
}


@pytest.mark.parametrize("harm", HARM)
async def test_backup_counts_lost_files(
    committed: Database,
    committed_url: str,
    committed_owner: OwnerId,
    target_url: str,
    folder: ObjectStore,
    other_folder: ObjectStore,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    harm: str,
) -> None:
    given = [b"one", os.urandom(2_500_000), b"three"]
    one, lost, three = await Files(committed, folder, committed_owner).store(*given)
    await HARM[harm](folder, key_of(lost))
    made = await backup(committed_url, tmp_path / "b.howdah", objects=folder)
    assert (made.objects.count, made.objects.deleted, made.objects.lost) == (2, 0, 1)
    assert key_of(lost) in caplog.text
    await restore(target_url, tmp_path / "b.howdah", objects=other_folder)
    assert await contents(other_folder, [one, three]) == [b"one", b"three"]


async def test_backup_contains_only_objects_of_files(
    committed: Database,
    committed_url: str,
    committed_owner: OwnerId,
    target_url: str,
    folder: ObjectStore,
    other_folder: ObjectStore,
    tmp_path: Path,
) -> None:
    """Neither results of runs, nor what an upload that broke off has left."""
    [file] = await Files(committed, folder, committed_owner).store(b"kept")
    await overwrite(folder, f"runs/{new_id().hex}/{new_id().hex}/000000", b"[1]\n")
    await overwrite(folder, object_key(new_id(), new_id()), b"orphan")
    await backup(committed_url, tmp_path / "b.howdah", objects=folder)
    await restore(target_url, tmp_path / "b.howdah", objects=other_folder)
    assert await keys(other_folder) == [key_of(file)]


def with_list(change: Callable[[list[Any]], list[Any]]) -> Callable[[str, bytes], bytes | None]:
    """Changes the list, and the manifest so that its checksum is right."""

    def text(data: bytes) -> bytes:
        entries = change([json.loads(line) for line in data.splitlines()])
        return b"".join(json.dumps(e, separators=(",", ":")).encode() + b"\n" for e in entries)

    lists: list[bytes] = []

    def apply(name: str, data: bytes) -> bytes | None:
        if name == "objects.jsonl":
            lists.append(text(data))
            return lists[-1]
        if name == "manifest.json":
            manifest = json.loads(data)
            manifest["objects"]["sha256"] = hashlib.sha256(lists[-1]).hexdigest()
            return json.dumps(manifest).encode()
        return data

    return apply


DAMAGE: dict[str, Callable[[str, bytes], bytes | None]] = {
    "a byte changed": lambda name, data: data[:-1] + b"?" if name == "objects" else data,
    "the end lost": lambda name, data: data[:-1] if name == "objects" else data,
    "no objects": lambda name, data: None if name == "objects" else data,
    "no list": lambda name, data: None if name == "objects.jsonl" else data,
    "an empty list": lambda name, data: b"" if name == "objects.jsonl" else data,
    "a list of nonsense": lambda name, data: b"[]\n" if name == "objects.jsonl" else data,
    "a hostile key": with_list(lambda entries: [entries[0] | {"key": "files/../../x"}, entries[1]]),
    "a place far away": with_list(lambda entries: [entries[0], entries[1] | {"start": 10**12}]),
    "an unlisted file": with_list(lambda entries: entries[:1]),
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_restore_of_damaged_objects_changes_nothing(
    committed: Database,
    committed_url: str,
    committed_owner: OwnerId,
    target_url: str,
    folder: ObjectStore,
    other_folder: ObjectStore,
    tmp_path: Path,
    damage: str,
) -> None:
    await Files(committed, folder, committed_owner).store(b"one", b"two")
    path = tmp_path / "b.howdah"
    await backup(committed_url, path, objects=folder)
    changed = rewritten(path, DAMAGE[damage])
    with pytest.raises(BadInput, match="damaged"):
        await restore(target_url, changed, objects=other_folder)
    assert await keys(other_folder) == []
    await restore(target_url, path, objects=other_folder)
    assert len(await keys(other_folder)) == 2


async def test_restore_verifies_the_list_again_while_it_copies(
    committed: Database,
    committed_url: str,
    committed_owner: OwnerId,
    folder: ObjectStore,
    other_folder: ObjectStore,
    tmp_path: Path,
) -> None:
    """The file could be changed after its check."""
    await Files(committed, folder, committed_owner).store(b"one")
    made = await backup(committed_url, tmp_path / "b.howdah", objects=folder)
    with ZipFile(tmp_path / "b.howdah") as archive:
        reader = ObjectsReader(archive)
        await copy_objects_in(other_folder, reader, list_sha256=made.objects.sha256)
        with pytest.raises(BadZipFile):
            await copy_objects_in(other_folder, reader, list_sha256="0" * 64)


class Forgetful(ObjectStore):
    """A store that takes what it does not keep."""

    def __init__(self, objects: ObjectStore) -> None:
        self.__dict__ = objects.__dict__

    async def put(self, key: str, chunks: AsyncIterator[bytes], **options: Any) -> None:
        await super().put(key, chunks, **options)
        await overwrite(ObjectStore(self._open_store, self.kind), key, b"another")


async def test_restore_verifies_objects_before_the_commit(
    committed: Database,
    committed_url: str,
    committed_owner: OwnerId,
    target_url: str,
    folder: ObjectStore,
    other_folder: ObjectStore,
    tmp_path: Path,
) -> None:
    files = await Files(committed, folder, committed_owner).store(b"content")
    await backup(committed_url, tmp_path / "b.howdah", objects=folder)
    with pytest.raises(Unavailable, match="returned other bytes"):
        await restore(target_url, tmp_path / "b.howdah", objects=Forgetful(other_folder))
    await restore(target_url, tmp_path / "b.howdah", objects=other_folder)
    assert await contents(other_folder, files) == [b"content"]


async def test_restore_covers_all_domains_and_secrets_open(
    committed: Database,
    committed_url: str,
    committed_owner: OwnerId,
    target_url: str,
    folder: ObjectStore,
    other_folder: ObjectStore,
    tmp_path: Path,
) -> None:
    vault = Vault(CredentialKeys("a", {"a": bytes(range(32))}))
    row_id = new_id()
    place = SecretLocation(
        "database_connections", row_id, committed_owner, "password", bound_to="db"
    )
    sealed: dict[str, bytes | None] = {"sealed_password": await vault.seal("peanuts", place)}
    files = Files(committed, folder, committed_owner)
    await files.storage.create_bsp(committed_owner, NewBsp("savanna", 1_000, []))
    await files.store(b"content")
    await connect(committed, committed_owner, row_id, sealed)
    made = await backup(committed_url, tmp_path / "b.howdah", objects=folder)
    filled = {table.name for table in made.tables if table.rows}
    assert filled >= {"bsps", "buckets", "files", "database_connections", "preferences"}
    await restore(target_url, tmp_path / "b.howdah", objects=other_folder)
    for table in made.tables:
        everything = everything_of(table.name)
        assert await rows(target_url, everything) == await rows(committed_url, everything)
    [(kept,)] = await rows(target_url, "SELECT sealed_password FROM database_connections")
    assert await vault.open(kept, place) == "peanuts"
    with pytest.raises(Unavailable):
        await Vault(CredentialKeys("a", {"a": bytes(32)})).open(kept, place)


async def connect(
    database: Database, owner: OwnerId, row_id: Any, sealed: dict[str, bytes | None]
) -> None:
    """Saves a connection and a preference, as their resolvers do."""
    whole = {"name": "Orders", "host": "db.example.com", "database": "orders", "username": "ada"}
    drafted = await parse_draft(whole)
    await database.transaction(
        lambda session: Connections(session, owner).create(row_id, drafted, sealed, agent=False)
    )
    await database.transaction(lambda session: Preferences(session, owner).put("theme", "dark"))

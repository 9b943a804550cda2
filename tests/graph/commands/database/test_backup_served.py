"""A backup made while a server runs, and a server on the restored data."""

import os
import shutil
from pathlib import Path
from typing import Any

from tests.fixtures.served import Served, served
from tests.graph.commands.test_cli import howdah

DATA = os.urandom(3_000_000)
SAVE = """
mutation($preference: SetPreferenceInput!, $connection: SaveConnectionInput!) {
  createTask(input: {title: "Feed"}) { task { id } }
  setPreference(input: $preference) { preference { key } }
  saveConnection(input: $connection) { connection { id } }
  createBucket(input: {name: "films"}) { bucket { id } }
}
"""
PREFERENCE = {"key": "theme", "value": {"dark": True}}
CONNECTION = {
    "name": "Orders",
    "host": "db.example.com",
    "database": "orders",
    "username": "ada",
    "password": "peanuts",
}
CREATE_FILE = """
mutation($input: CreateFileInput!) { createFile(input: $input) { file { id } uploadUrl } }
"""
EVERYTHING = """
query($file: ID!) {
  tasks(first: 9) { nodes { id title createdAt } }
  preferences { key value version }
  connections(first: 9) { nodes { id name host username } }
  buckets(first: 9) { nodes { name fileCount totalSize } }
  file(id: $file) { location status size fingerprint key contentType }
}
"""


async def test_restored_folder_serves_rows_and_bytes(tmp_path: Path) -> None:
    old, new, file = tmp_path / "old", tmp_path / "new", tmp_path / "b.howdah"
    async with served(old) as server:
        file_id = await fill(server)
        before = await server.ask(EVERYTHING, file=file_id)
        made = await howdah("backup", str(file), "--data-dir", str(old))
        await server.ask('mutation { createTask(input: {title: "After"}) { task { id } } }')
    assert (made.code, made.errors) == (0, "")
    assert " 1 files " in made.output
    assert "peanuts" not in file.read_bytes().decode("latin-1")
    refused = await howdah("restore", str(file), "--data-dir", str(new))
    assert refused.code == 1
    assert "was signed by another installation" in refused.errors
    assert "--accept-unverified only if" in refused.errors
    for name in ("secret_key", "credential_key"):
        shutil.copy(old / name, new / name)
    back = await howdah("restore", str(file), "--data-dir", str(new))
    assert (back.code, back.errors) == (0, "")
    async with served(new) as server:
        assert await server.ask(EVERYTHING, file=file_id) == before
        link = (await server.ask("query($id: ID!) { file(id: $id) { downloadUrl } }", id=file_id))[
            "file"
        ]["downloadUrl"]
        assert (await server.http.get(link)).content == DATA


async def test_backup_reports_lost_file(tmp_path: Path) -> None:
    data_dir, file = tmp_path / "data", tmp_path / "b.howdah"
    async with served(data_dir) as server:
        await fill(server)
        [stored] = [path for path in (data_dir / "objects").glob("*/**/*") if path.is_file()]
        stored.unlink()
        made = await howdah("backup", str(file), "--data-dir", str(data_dir))
    assert made.code == 1
    assert stored.name in made.errors
    assert "1 files are missing or changed" in made.output
    assert file.exists()


async def fill(server: Served) -> str:
    """Something of every wing; the id of the file."""
    made = await server.ask(SAVE, preference=PREFERENCE, connection=CONNECTION)
    given: dict[str, Any] = {
        "bucketId": made["createBucket"]["bucket"]["id"],
        "location": "Dumbo.bin",
        "size": str(len(DATA)),
    }
    created = (await server.ask(CREATE_FILE, input=given))["createFile"]
    assert (await server.http.put(created["uploadUrl"], content=DATA)).status_code == 201
    return str(created["file"]["id"])

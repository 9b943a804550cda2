"""The commands and the upload of docs/storage.md work on a real server."""

import asyncio
import hashlib
import json
import re
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fixtures.patience import patience
from tests.fixtures.served import Served, served
from tests.graph.storage.test_storage import CREATE_FILE
from tests.graph.transport.test_clients import CLIENTS

TEXT = (Path(__file__).parents[2] / "docs" / "storage.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8000/graphql"
SIGN_UP = """mutation { signUp(input: {
  email: "me@example.com", password: "correct horse battery", name: "Me"
}) { user { id } } }"""


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    data_dir = tmp_path_factory.mktemp("storage") / "data"
    data_dir.mkdir()
    async with served(data_dir) as server:
        await server.ask(SIGN_UP)
        yield server


async def test_storage_page_commands_upload_list_move_and_replace(
    server: Served, tmp_path: Path
) -> None:
    script = "\n".join(re.findall(r"^```bash\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))
    assert ADDRESS in script
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euc", script.replace(ADDRESS, server.address)),
        cwd=tmp_path,
        stdout=PIPE,
        stderr=PIPE,
    )
    said, errors = await process.communicate()
    assert (process.returncode, errors, said) == (0, b"", b"Hay")
    level = json.loads((tmp_path / "level.json").read_text())["data"]["bucket"]
    assert level["folders"]["nodes"] == [{"name": "2026", "path": "2026"}]
    moved = json.loads((tmp_path / "moved.json").read_text())["data"]
    assert moved == {"moveFile": {"file": {"version": 3}}}
    assert json.loads((tmp_path / "replaced.json").read_text())["size"] == "28"
    stored = json.loads((tmp_path / "stored.json").read_text())
    fingerprint = hashlib.sha256((tmp_path / "may.txt").read_bytes()).hexdigest()
    assert (stored["size"], stored["fingerprint"]) == ("17", fingerprint)


@pytest.mark.skipif(
    not (CLIENTS / "node_modules" / "tus-js-client").is_dir(),
    reason="needs npm install --prefix tests/clients",
)
async def test_storage_page_resumable_upload_stores_the_file(server: Served) -> None:
    found = re.findall(r"^```js\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    (script,) = [block for block in found if "tus-js-client" in block]
    bucket = (
        await server.ask('mutation { createBucket(input: {name: "tus"}) { bucket { id } } }')
    )["createBucket"]["bucket"]["id"]
    new = {"bucketId": bucket, "location": "may.txt", "size": "3"}
    made = (await server.ask(CREATE_FILE, input=new))["createFile"]
    call = "await resumableUpload(process.argv[1], Buffer.from('Hay'), console.log);"
    process = await asyncio.create_subprocess_exec(
        *("node", "--input-type=module", "-e", f"{script}\n{call}", made["uploadUrl"]),
        cwd=CLIENTS,
        stdout=PIPE,
        stderr=PIPE,
    )
    async with patience():
        said, errors = await process.communicate()
    assert (process.returncode, errors, said.split()[-1:]) == (0, b"", [b"1"])
    read = "query ($id: ID!) { file(id: $id) { status fingerprint } }"
    file = (await server.ask(read, id=made["file"]["id"]))["file"]
    assert file == {"status": "STORED", "fingerprint": hashlib.sha256(b"Hay").hexdigest()}

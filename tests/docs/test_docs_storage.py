"""The commands of docs/storage.md work on a real server."""

import asyncio
import hashlib
import json
import re
from asyncio.subprocess import PIPE
from pathlib import Path

from tests.fixtures.served import served

TEXT = (Path(__file__).parents[2] / "docs" / "storage.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8000/graphql"
SIGN_UP = """mutation { signUp(input: {
  email: "me@example.com", password: "correct horse battery", name: "Me"
}) { user { id } } }"""


async def test_storage_page_commands_upload_list_move_and_replace(tmp_path: Path) -> None:
    script = "\n".join(re.findall(r"^```bash\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))
    assert ADDRESS in script
    (tmp_path / "data").mkdir()
    async with served(tmp_path / "data") as server:
        await server.ask(SIGN_UP)
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

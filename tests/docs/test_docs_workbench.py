"""The scripts of the pages on the workbench print what the pages say."""

import asyncio
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tests.fixtures.pages import CLIENTS, ROOT, blocks_of, has_npm_clients
from tests.fixtures.served import served
from tests.fixtures.targets import SAVE, Target


@pytest.mark.skipif(not has_npm_clients(), reason="needs Node.js and `make clients`")
@pytest.mark.parametrize(
    ("page", "title"),
    [
        ("runs.md", "client.mjs"),
        ("scripts.md", "script.mjs"),
        ("sessions.md", "session.mjs"),
        ("plans.md", "plan.mjs"),
        ("editing.md", "edit.mjs"),
        ("completion.md", "completion.mjs"),
        ("saved-queries.md", "saved.mjs"),
    ],
)
async def test_workbench_page_script_prints_its_output(
    page: str, title: str, target: Target, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "node_modules").symlink_to(CLIENTS / "node_modules")
    async with served(tmp_path / "data") as server:
        saved = await server.ask(SAVE, input=target.connection(savePassword=True))
        ours = {
            "http://127.0.0.1:8000/graphql": server.address,
            "Bearer paste the access token here": server.http.headers["Authorization"],
            "conn_0123456789abcdef0123456789abcdef": saved["saveConnection"]["connection"]["id"],
        }
        texts: dict[str, str] = {}
        for name in ("index.md", page):
            text = (ROOT / "docs" / name).read_text(encoding="utf-8")
            texts |= {block.title: block.text for block in blocks_of(text)}
        for module in ("howdah.mjs", title):
            for theirs, own in ours.items():
                texts[module] = texts[module].replace(theirs, own)
            (tmp_path / module).write_text(texts[module], encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            *("node", title), cwd=tmp_path, stdout=PIPE, stderr=PIPE
        )
        said, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert said.decode() == texts["Output"]

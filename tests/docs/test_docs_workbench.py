"""The scripts of the pages on the workbench print what the pages say."""

import asyncio
import shutil
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tests.docs.test_docs_runs import SAVE
from tests.fixtures.pages import blocks_of
from tests.fixtures.served import served
from tests.fixtures.targets import Target

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
@pytest.mark.parametrize(
    ("page", "title"),
    [
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
    blocks = blocks_of((DOCS / page).read_text(encoding="utf-8"))
    texts = {block.title: block.text for block in blocks}
    script, output = texts[title], texts["Output"]
    (tmp_path / "data").mkdir()
    async with served(tmp_path / "data") as server:
        connection = target.connection(savePassword=True)
        saved = await server.ask(SAVE, input=connection)
        ours = {
            "http://127.0.0.1:8000/graphql": server.address,
            "conn_0123456789abcdef0123456789abcdef": saved["saveConnection"]["connection"]["id"],
            "Bearer paste the access token here": server.http.headers["Authorization"],
        }
        for theirs, own in ours.items():
            assert theirs in script
            script = script.replace(theirs, own)
        process = await asyncio.create_subprocess_exec(
            *("node", "--input-type=module", "-e", script), stdout=PIPE, stderr=PIPE
        )
        said, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert said.decode() == output

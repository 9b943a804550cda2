"""The TypeScript of docs/clients.md is correct against the packages of docs/examples."""

import asyncio
import json
import shutil
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import pytest
from graphql import GraphQLObjectType, build_schema

from tests.fixtures.pages import ROOT, blocks_of

DOCS = ROOT / "docs"
PACKAGES = DOCS / "examples" / "node_modules"
MODULES = {"session.js", "socket.js"}
OPTIONS = {
    "target": "ES2023",
    "lib": ["ES2023", "DOM", "DOM.Iterable"],
    "module": "ESNext",
    "moduleResolution": "bundler",
    "strict": True,
    "allowJs": True,
    "skipLibCheck": True,
    "noEmit": True,
    "types": [],
}


async def run(folder: Path, *command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, stdout=PIPE, stderr=STDOUT)
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


@pytest.mark.skipif(
    shutil.which("npx") is None or not PACKAGES.is_dir(), reason="needs `make clients`"
)
async def test_client_recipes_have_correct_types(tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(PACKAGES)
    shutil.copy(ROOT / "schema.graphql", tmp_path)
    for page in ("authentication.md", "clients.md"):
        for block in blocks_of((DOCS / page).read_text(encoding="utf-8")):
            if block.title.endswith((".ts", ".json")) or block.title in MODULES:
                (tmp_path / block.title).write_text(block.text, encoding="utf-8")
    await run(tmp_path, "npx", "--no-install", "gql.tada", "generate-output")
    plugins = json.loads((tmp_path / "tsconfig.json").read_text(encoding="utf-8"))
    assert plugins["compilerOptions"]["strict"]
    checked = {"compilerOptions": OPTIONS, "include": ["*.ts"]}
    (tmp_path / "tsconfig.json").write_text(json.dumps(checked), encoding="utf-8")
    await run(tmp_path, "npx", "--no-install", "tsc")


def test_clients_page_names_each_type_with_an_id_that_is_no_node() -> None:
    types = build_schema((ROOT / "schema.graphql").read_text(encoding="utf-8")).type_map.values()
    local = {
        one.name
        for one in types
        if isinstance(one, GraphQLObjectType)
        and "id" in one.fields
        and "Node" not in {interface.name for interface in one.interfaces}
    }
    page = (DOCS / "clients.md").read_text(encoding="utf-8")
    assert {name for name in local if f"a `{name}`, which is no `Node`" in page} == local != set()


def test_sockets_of_pages_connect_again_after_a_restart() -> None:
    """By default, graphql-ws gives up at the first connection that is refused."""
    found = [
        (page.name, block)
        for page in DOCS.glob("*.md")
        for block in blocks_of(page.read_text(encoding="utf-8"))
        if "from 'graphql-ws'" in block.text
    ]
    assert len(found) >= 4
    for name, block in found:
        for option in ("retryAttempts: Infinity", "shouldRetry: () => true"):
            assert option in block.text, f"{name}:{block.line} lacks {option}"

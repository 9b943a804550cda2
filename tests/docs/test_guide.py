"""The pages that lead a newcomer work as they are read: every block runs, in order."""

import asyncio
import shlex
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fixtures.pages import EXECUTABLE, ROOT, Block, Reader, blocks_of, has_npm_clients
from tests.fixtures.served import served

DOCS = ROOT / "docs"
PAGES = {
    path.relative_to(DOCS if DOCS in path.parents else ROOT).as_posix(): path
    for folder, pattern in (
        (ROOT, "*.md"),
        (ROOT, "tests/*/README.md"),
        (DOCS, "*.md"),
        (DOCS, "*/*.md"),
        (DOCS, "examples/*/README.md"),
    )
    for path in folder.glob(pattern)
}
"""The pages under docs/ by their path there, the others by their path in the repository."""
GUIDE = (
    "index.md",
    "authentication.md",
    "errors.md",
    "pagination.md",
    "subscriptions.md",
    "uploads.md",
    "storage.md",
    "tasks.md",
    "deployment.md",
    "README.md",
)
IN_BROWSER = frozenset({"authentication.md", "uploads.md"})
"""Their `.js` files run in Chromium: tests/browser/test_pages.py."""
OWN_TESTS = {
    ("catalogue.md", "graphql"): "test_docs_catalogue.py",
    ("clients.md", "js"): "test_seen_recipe.py",
    ("clients.md", "ts"): "test_client_recipes.py",
    ("connections.md", "graphql"): "test_docs_operations.py",
    ("editor.md", "tsx"): "test_docs_editor.py",
    ("new-domain.md", "python"): "test_new_domain.py",
    ("plans.md", "js"): "test_docs_workbench.py",
    ("runs.md", "js"): "test_docs_workbench.py",
    ("saved-queries.md", "js"): "test_docs_workbench.py",
    ("scripts.md", "js"): "test_docs_workbench.py",
    ("completion.md", "js"): "test_docs_workbench.py",
    ("sessions.md", "js"): "test_docs_workbench.py",
    ("editing.md", "js"): "test_docs_workbench.py",
    ("tasks.md", "js"): "test_docs_tasks.py",
}
"""Pages whose blocks of a language have a test of their own."""


@pytest.fixture(scope="module")
async def reader(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Reader]:
    if not has_npm_clients():
        pytest.skip("needs Node.js and `make clients`")
    folder = tmp_path_factory.mktemp("reader")
    (folder / "data").mkdir()
    async with served(folder / "data") as server:
        reader = Reader(folder, server.http, server.address.removesuffix("/graphql"))
        try:
            await reader.follow(DOCS / GUIDE[0])  # the others use what it leaves
            yield reader
        finally:
            await reader.close()


@pytest.mark.parametrize("page", GUIDE[1:])
async def test_guide_page_works_by_copying(reader: Reader, page: str) -> None:
    await reader.follow(PAGES[page])


def make_commands(block: Block) -> list[list[str]]:
    """The commands of a block of `make` commands; none if it has others too."""
    lines = [line for line in block.text.splitlines() if line and not line.startswith("#")]
    if block.language != "sh" or not all(line.startswith("make ") for line in lines):
        return []
    return [shlex.split(line, comments=True) for line in lines]


@pytest.mark.parametrize(
    "page",
    [page for page, path in sorted(PAGES.items()) if "```sh\nmake" in path.read_text("utf-8")],
)
async def test_make_commands_of_page_have_targets(page: str) -> None:
    for block in blocks_of(PAGES[page].read_text(encoding="utf-8")):
        for command in make_commands(block):
            process = await asyncio.create_subprocess_exec(
                *command, "--dry-run", cwd=ROOT, stdout=PIPE, stderr=STDOUT
            )
            output, _ = await process.communicate()
            assert process.returncode == 0, f"correct {page}:{block.line}: {output.decode()}"


@pytest.mark.parametrize("page", sorted(PAGES))
def test_page_has_no_block_that_never_runs(page: str) -> None:
    """A new block runs by itself in a page of the guide; elsewhere it needs a test or a reason."""
    for block in blocks_of(PAGES[page].read_text(encoding="utf-8")):
        if block.language not in EXECUTABLE or block.reason or make_commands(block):
            continue
        own_test = OWN_TESTS.get((page, block.language), "missing")
        runs = page in GUIDE and (
            block.language in {"graphql", "sh"}
            or (block.language == "js" and block.title.endswith(".mjs"))
            or (page in IN_BROWSER and block.title.endswith(".js"))
        )
        assert runs or (ROOT / "tests" / "docs" / own_test).exists(), (
            f"{page}:{block.line} is never run: add the page to GUIDE, or write "
            "`<!-- not run: reason -->` above the block"
        )


def test_pages_outside_docs_are_found() -> None:
    assert {"README.md", "CONTRIBUTING.md", "examples/README.md", "tasks.md"} <= PAGES.keys()


def test_make_commands_are_only_of_blocks_without_other_commands() -> None:
    make, mixed = blocks_of(
        "```sh\nmake test ARGS='-k a'  # some\n```\n```sh\nmake serve\nls\n```\n"
    )
    assert make_commands(make) == [["make", "test", "ARGS=-k a"]]
    assert make_commands(mixed) == []


def test_blocks_of_finds_titles_and_reasons() -> None:
    text = (
        '```sh title="a.sh"\nls\n```\n'
        "<!-- not run: it is the server -->\n```sh\nmake serve\n```\n```text\nhi\n```\n"
    )
    found = [(block.language, block.title, block.reason) for block in blocks_of(text)]
    assert found == [("sh", "a.sh", ""), ("sh", "", "it is the server"), ("text", "", "")]


async def test_reader_reports_a_block_that_does_not_work(reader: Reader, tmp_path: Path) -> None:
    page = DOCS / "index.md"
    text = page.read_text(encoding="utf-8").replace('"role": "ADMIN"', '"role": "OWNER"')
    changed = tmp_path / "index.md"
    changed.write_text(text, encoding="utf-8")
    with pytest.raises(AssertionError, match=r"index\.md:\d+: the answer is"):
        await reader.follow(changed)

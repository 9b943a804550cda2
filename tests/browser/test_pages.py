"""The modules for browsers in docs/ work in Chromium, on a page of another origin."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.browser.conftest import RunScript, serve_folder
from tests.fixtures.pages import CLIENTS, ROOT, Reader, blocks_of, has_npm_clients
from tests.fixtures.served import served

DOCS = ROOT / "docs"
PAGE = """<!doctype html>
<script type="importmap">
{"imports": {"graphql-ws": "./node_modules/graphql-ws/dist/index.js"}}
</script>
"""
MODULES = (
    ("authentication.md", "app.js"),
    ("authentication.md", "cookie-app.js"),
    ("uploads.md", "upload-app.js"),
)

pytestmark = pytest.mark.skipif(not has_npm_clients(), reason="needs `make clients`")


@pytest.fixture(scope="module")
async def page_address(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A web page with the modules of all pages; its server has the account of the start page."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "index.html").write_text(PAGE, encoding="utf-8")
    (folder / "node_modules").symlink_to(CLIENTS / "node_modules")
    with serve_folder(folder) as address:
        data_dir = tmp_path_factory.mktemp("howdah") / "data"
        data_dir.mkdir()
        async with served(data_dir, HOWDAH_ALLOWED_ORIGINS=address) as server:
            reader = Reader(folder, server.http, server.address.removesuffix("/graphql"))
            try:
                await reader.follow(DOCS / "index.md")
                for page in DOCS.glob("*.md"):
                    reader.save_modules(page)
                yield address
            finally:
                await reader.close()


def output_after(page: Path, module: str) -> str:
    """What a page says that its module prints."""
    blocks = list(blocks_of(page.read_text(encoding="utf-8")))
    at = next(index for index, block in enumerate(blocks) if block.title == module)
    return blocks[at + 1].text


@pytest.mark.parametrize(("page", "module"), MODULES)
async def test_module_of_page_prints_what_the_page_says(
    page_address: str, browser_tools: RunScript, page: str, module: str
) -> None:
    said = await browser_tools("pages.mjs", page_address, module)
    assert said == output_after(DOCS / page, module)


async def test_tabs_share_the_session_of_the_authentication_page(
    page_address: str, browser_tools: RunScript
) -> None:
    said = await browser_tools("pages.mjs", page_address, "session.js", "--tabs")
    # A tab may see the other's new session a moment late; the server then repeats its answer.
    expected = (
        "signed in: Me Me 0\nexpired: Me Me [12]\nrefused: Me Me [234]\n"
        "signed out: signed out signed out [234]\n"
    )
    assert re.fullmatch(expected, said), said

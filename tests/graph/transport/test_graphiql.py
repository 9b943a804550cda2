import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from graph.transport import graphiql
from tests.fixtures.graphiql import needs_graphiql

SCRIPT = "console.log('built');"
SOURCE = Path(graphiql.__file__).with_name("index.html")


class Scripts(HTMLParser):
    """The script elements of a page: their attributes, and the text of the configuration."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.attributes: list[dict[str, str | None]] = []
        self._config = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "script":
            self.attributes.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self._config += data

    def config(self) -> dict[str, str]:
        config: dict[str, str] = json.loads(self._config)
        return config


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    """A build like that of vite, with one script, and a secret file next to it."""
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text(SOURCE.read_text("utf-8"), "utf-8")
    (folder / "assets" / "index-1a2b.js").write_text(SCRIPT, "utf-8")
    (folder / "assets" / "index-1a2b.css").write_text("body{}", "utf-8")
    (folder / "assets" / "icons-1a2b.ttf").write_bytes(b"\0\1")
    (folder / "secret.js").write_text("secret", "utf-8")
    return folder


def browser(dist: Path) -> httpx.AsyncClient:
    async def page(request: Request) -> Response:
        return await graphiql.page(request, dist=dist)

    app = Starlette(
        routes=[
            Mount("/graphql/assets", graphiql.assets(dist)),
            Route("/graphql", page),
            Route("/below/{name:path}", page),
        ]
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://howdah")


async def test_page_without_build_explains_how_to_build(tmp_path: Path) -> None:
    async with browser(tmp_path / "never made") as client:
        page = await client.get("/graphql")
        asset = await client.get("/graphql/assets/index-1a2b.js")
    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")
    assert "make graphiql" in page.text
    assert "by POST to <code>/graphql</code>" in page.text
    assert asset.status_code == 404


async def test_page_built_later_is_served_without_restart(tmp_path: Path, dist: Path) -> None:
    later = tmp_path / "later"
    async with browser(later) as client:
        assert (await client.get("/graphql")).status_code == 404
        shutil.move(dist, later)
        assert (await client.get("/graphql")).status_code == 200
        assert (await client.get("/graphql/assets/index-1a2b.js")).text == SCRIPT


async def test_page_has_endpoint_and_no_token(dist: Path) -> None:
    async with browser(dist) as client:
        page = await client.get("/graphql")
    assert Scripts(page.text).config() == {"endpoint": "/graphql"}


@pytest.mark.parametrize(
    "value",
    ["</script><script>alert(1)</script>", "<!--<script>", "]]>&lt;", "'\"", "\u2028"],
)
async def test_page_address_does_not_break_out_of_the_script(dist: Path, value: str) -> None:
    async with browser(dist) as client:
        page = await client.get(f"/below/{quote(value)}")
    scripts = Scripts(page.text)
    assert len(scripts.attributes) == 2  # the configuration and the page's own
    assert scripts.config() == {"endpoint": f"/below/{value}"}
    assert value not in page.text


@pytest.mark.parametrize("folder", ["dist", "never made"])
async def test_page_is_not_cached_and_runs_own_scripts_only(dist: Path, folder: str) -> None:
    async with browser(dist.with_name(folder)) as client:
        headers = (await client.get("/graphql")).headers
    policy = dict(one.split(" ", 1) for one in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["worker-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("index-1a2b.js", "text/javascript; charset=utf-8"),
        ("index-1a2b.css", "text/css; charset=utf-8"),
        ("icons-1a2b.ttf", "font/ttf"),
    ],
)
async def test_assets_have_type_and_are_cached(dist: Path, name: str, media_type: str) -> None:
    async with browser(dist) as client:
        asset = await client.get(f"/graphql/assets/{name}")
    assert asset.status_code == 200
    assert asset.headers["content-type"] == media_type
    assert asset.headers["x-content-type-options"] == "nosniff"
    assert "immutable" in asset.headers["cache-control"]


async def test_assets_are_compressed(dist: Path) -> None:
    (dist / "assets" / "editor-1a2b.js").write_text(SCRIPT * 100, "utf-8")
    async with browser(dist) as client:
        asset = await client.get("/graphql/assets/editor-1a2b.js")
    assert asset.headers["content-encoding"] == "gzip"
    assert asset.text == SCRIPT * 100


@pytest.mark.parametrize(
    "path",
    [
        "%2e%2e/secret.js",
        "..%2fsecret.js",
        "x/%2e%2e/%2e%2e/secret.js",
        "..%5csecret.js",
        "%2fetc%2fpasswd",
        "",
        "missing.js",
        "%00",
    ],
)
async def test_assets_serve_no_other_files(dist: Path, path: str) -> None:
    async with browser(dist) as client:
        answer = await client.get(f"/graphql/assets/{path}")
    assert answer.status_code == 404
    assert "secret" not in answer.text


async def test_assets_do_not_follow_links_outside(dist: Path) -> None:
    (dist / "assets" / "out.js").symlink_to(dist / "secret.js")
    async with browser(dist) as client:
        assert (await client.get("/graphql/assets/out.js")).status_code == 404


@needs_graphiql
async def test_build_contains_configuration_and_files() -> None:
    async with browser(graphiql.DIST) as client:
        page = await client.get("/graphql")
        scripts = Scripts(page.text)
        addresses = [source for each in scripts.attributes if (source := each.get("src"))]
        answers = [await client.get(address) for address in addresses]
    assert page.status_code == 200, "run `make graphiql`"
    assert scripts.config() == {"endpoint": "/graphql"}
    assert [answer.status_code for answer in answers] == [200]

"""Fixtures of the tests that work in a real browser: Chromium, its scripts, a served Howdah."""

import asyncio
import contextlib
import functools
import http.server
import os
import shutil
import threading
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.fixtures.patience import PATIENCE_S
from tests.fixtures.served import Served, served

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
SCREENSHOTS = REPOSITORY / "build" / "screenshots"
"""Not in git; CI keeps them as an artefact."""

RunScript = Callable[..., Awaitable[str]]


def _miss(reason: str) -> NoReturn:
    """Skips the test; fails it where `.ci/run` has installed everything, so that nothing hides."""
    if os.environ.get("REQUIRE_BROWSER"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The Chromium of this machine; playwright's own build is not on the package registries."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return Path(path)
    _miss("Chromium is not installed (Debian and Ubuntu: apt-get install chromium)")


@pytest.fixture(scope="session")
def browser_tools(chromium: Path) -> RunScript:
    """Runs a script of this folder with Node.js and returns its output; fails if it fails."""
    if shutil.which("node") is None or not (HERE / "node_modules" / "playwright-core").exists():
        _miss("playwright-core is not installed: `make clients` installs it; needs npm")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)

    async def run_script(script: str, *arguments: str) -> str:
        return await run_command(
            *("node", str(HERE / script), *arguments, "--chromium", str(chromium)),
            *("--screenshots", str(SCREENSHOTS)),
            folder=HERE,
        )

    return run_script


async def run_command(*command: str, folder: Path) -> str:
    """The output of a command that must succeed."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdin=asyncio.subprocess.DEVNULL, stdout=PIPE, stderr=STDOUT
    )
    try:
        async with asyncio.timeout(10 * PATIENCE_S):  # a script waits many times
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = output.decode(errors="replace")
    assert process.returncode == 0, text
    return text


@pytest.fixture(scope="module")
async def howdah_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """A development server with its embedded PostgreSQL; each test module has its own."""
    data_dir = tmp_path_factory.mktemp("howdah") / "data"
    data_dir.mkdir()
    async with served(data_dir) as server:
        yield server


@contextlib.contextmanager
def serve_folder(folder: Path) -> Iterator[str]:
    """Serves a built page on loopback; yields its address."""
    handler = functools.partial(_QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged."""


async def build_example(name: str) -> Path:
    """Type-checks and builds an app of docs/examples; returns the folder of the built page."""
    examples = REPOSITORY / "docs" / "examples"
    if shutil.which("npm") is None or not (examples / "node_modules").exists():
        _miss("docs/examples is not installed: `make clients` installs it; needs npm")
    folder = examples / name
    await run_command("npm", "run", "--silent", "build", folder=folder)
    return folder / "dist"

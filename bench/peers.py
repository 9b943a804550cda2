"""The servers that are measured: Howdah, the limit, and PostGraphile if npm can install it."""

import asyncio
import base64
import contextlib
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import platformdirs
import psutil

from bench.cases import Case
from bench.clients import request
from bench.start import wait_for_address
from db.services import open_services
from db.settings import load_settings
from db.users import Users

POSTGRAPHILE = Path(__file__).with_name("postgraphile")
HOWDAH = str(Path(sys.executable).with_name("howdah"))
CHECKOUT = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A running server, and how requests to it are made."""

    name: str
    url: str
    process: psutil.Process
    tokens: Mapping[UUID, str] = field(default_factory=dict)

    def cpu_s(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def requests(self, case: Case) -> list[bytes]:
        return [
            request(
                self.url,
                {"query": case.ours, "variables": with_our_ids(variables)},
                token=self.tokens[owner],
            )
            for owner, variables in case.asked
        ]


class Limit(Peer):
    """Has a URL for each operation, and takes the owner from the request unverified."""

    def requests(self, case: Case) -> list[bytes]:
        url = self.url.removesuffix("/graphql") + case.path
        return [
            request(url, {"owner": owner} | with_our_ids(variables))
            for owner, variables in case.asked
        ]


class PostGraphile(Peer):
    """Has its own schema, and plain IDs."""

    def requests(self, case: Case) -> list[bytes]:
        return [
            request(
                self.url,
                {
                    "query": case.postgraphile,
                    "variables": {"owner": asked.owner, **asked.variables},
                },
            )
            for asked in case.asked
        ]


def with_our_ids(variables: dict[str, Any]) -> dict[str, Any]:
    """Adds the type prefix of Howdah's IDs."""
    return {
        name: f"task_{value.hex}" if isinstance(value, UUID) else value
        for name, value in variables.items()
    }


@contextlib.contextmanager
def ours(url: str, folder: Path) -> Iterator[Peer]:
    """Howdah as in production, with the largest page size that an operator can set."""
    environment = {
        "HOWDAH_DATABASE_URL": url,
        "HOWDAH_DATA_DIR": str(folder),
        "HOWDAH_ENV": "production",
        "HOWDAH_ALLOW_ROOT": "true",
        "HOWDAH_SECRET_KEY": secrets.token_urlsafe(48),
        "HOWDAH_CREDENTIAL_KEY": f"k1:{base64.b64encode(secrets.token_bytes(32)).decode()}",
        "HOWDAH_ACCESS_TOKEN_SECONDS": "86400",
        "HOWDAH_MAX_PAGE_SIZE": "10000",
        "HOWDAH_LOG_LEVEL": "warning",
    }
    tokens = asyncio.run(signed_in(environment))
    with running([HOWDAH, "serve", "--port", "0"], environment, folder / "ours.log") as started:
        process, address = started
        yield Peer(name="Howdah", url=address, process=process, tokens=tokens)


async def signed_in(environment: Mapping[str, str]) -> dict[UUID, str]:
    """Makes tokens like `howdah user token`, which would take a minute for all users."""
    async with open_services(load_settings(environment)) as services:
        async with services.database.read() as session:
            people = await Users(session).page()
        return {person.id: await services.identity.issue(person) for person in people}


@contextlib.contextmanager
def limit(url: str, folder: Path) -> Iterator[Peer]:
    command = [sys.executable, "-m", "bench.limit"]
    with running(command, {"DATABASE_URL": url}, folder / "limit.log") as (process, address):
        yield Limit(name="limit", url=address, process=process)


@contextlib.contextmanager
def postgraphile(url: str, folder: Path) -> Iterator[Peer]:
    """Raises NotInstalled if npm is missing or fails."""
    installed = install_postgraphile()
    node = installed / "node_modules/node/bin/node"
    environment = {
        "DATABASE_URL": url,
        "PORT": "0",
        "POOL_SIZE": "10",
        "NODE_ENV": "production",
        "GRAPHILE_ENV": "production",
    }
    command = [str(node), "node_modules/.bin/postgraphile"]
    log = folder / "postgraphile.log"
    with running(command, environment, log, cwd=installed) as (process, address):
        yield PostGraphile(name="PostGraphile", url=address, process=process)


class NotInstalled(Exception):
    """The reason why PostGraphile is not measured."""


def install_postgraphile() -> Path:
    """Installs into a cache folder, with its own Node; takes seconds if already installed."""
    npm = shutil.which("npm")
    if npm is None:
        raise NotInstalled("npm is not installed")
    folder = Path(platformdirs.user_cache_dir("howdah", appauthor=False)) / "bench"
    shutil.copytree(POSTGRAPHILE, folder, dirs_exist_ok=True)
    command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--prefer-offline"]
    installing = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if installing.returncode:
        raise NotInstalled(f"npm could not install it:\n{installing.stderr.strip()[-1_000:]}")
    return folder


@contextlib.contextmanager
def running(
    command: list[str], environment: Mapping[str, str], log: Path, *, cwd: Path = CHECKOUT
) -> Iterator[tuple[psutil.Process, str]]:
    """Runs a server from the line with its address until the block ends."""
    with log.open("w") as errors:
        server = subprocess.Popen(
            command,
            cwd=cwd,
            env=_environment(environment),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        yield psutil.Process(server.pid), wait_for_address(server)
    finally:
        server.terminate()
        server.communicate(timeout=60)


def _environment(additions: Mapping[str, str]) -> dict[str, str]:
    """Without HOWDAH variables of the caller; with .pyc files, as in production."""
    kept: dict[str, str] = {
        name: value for name, value in os.environ.items() if not name.startswith("HOWDAH_")
    }
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**kept, **additions}

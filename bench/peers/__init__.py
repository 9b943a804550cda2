"""The servers that are measured; each runs as one process."""

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
from bench.cpu import cpu_s
from bench.start import wait_for_address
from db.services import open_services
from db.settings import load_settings
from db.users import Users

PACKAGE = Path(__file__).with_name("postgraphile")
_KEYS = {  # those of all servers on one database: it refuses a replica with others
    "HOWDAH_SECRET_KEY": secrets.token_urlsafe(48),
    "HOWDAH_CREDENTIAL_KEY": f"k1:{base64.b64encode(secrets.token_bytes(32)).decode()}",
}
HOWDAH, LIMIT, GATHERING_LIMIT = "Howdah", "limit", "limit with gathering"
POSTGRAPHILE, STOCK = "PostGraphile", "stock Strawberry"
PROGRAM = str(Path(sys.executable).with_name("howdah"))
NPM_OPTIONS = (
    "--ignore-scripts",  # packages of others would run them with the rights of the caller
    *("--no-audit", "--no-fund", "--no-package-lock", "--prefer-offline"),
)
CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A running server, and how requests to it are made."""

    name: str
    url: str
    process: psutil.Process
    tokens: Mapping[UUID, str] = field(default_factory=dict)

    def cpu_s(self) -> float:
        return cpu_s(self.process)

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


class Stock(Peer):
    """Has our schema, and takes the owner from the request unverified."""

    def requests(self, case: Case) -> list[bytes]:
        return [
            request(
                self.url,
                {"query": case.ours, "variables": with_our_ids(variables)},
                token=str(owner),
            )
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
def ours(url: str, folder: Path, *, without: str = "", standby_urls: str = "") -> Iterator[Peer]:
    """Howdah as in production, with the largest page size that an operator can set.

    `without` names a part of bench.ablated that is switched off.
    """
    environment = {
        "HOWDAH_DATABASE_URL": url,
        "HOWDAH_DATA_DIR": str(folder.parent),  # one folder of files, as of replicas
        "HOWDAH_ENV": "production",
        "HOWDAH_ALLOW_ROOT": "true",
        **_KEYS,
        "HOWDAH_ACCESS_TOKEN_SECONDS": "86400",
        "HOWDAH_CONNECTIONS_PER_ADDRESS": "2000",
        "HOWDAH_MAX_PAGE_SIZE": "10000",
        "HOWDAH_LOG_LEVEL": "warning",
        "HOWDAH_TASKS_PER_USER": "100000000",
        **({"HOWDAH_READ_DATABASE_URLS": standby_urls} if standby_urls else {}),
    }
    tokens = asyncio.run(signed_in(environment))
    program = [sys.executable, "-m", "bench.ablated", without] if without else [PROGRAM]
    log = folder / f"ours{without}.log"
    with running([*program, "serve", "--port", "0"], environment, log) as (process, address):
        yield Peer(name=HOWDAH, url=address, process=process, tokens=tokens)


async def signed_in(environment: Mapping[str, str]) -> dict[UUID, str]:
    """Makes tokens like `howdah user token`, which would take a minute for all users."""
    async with open_services(load_settings(environment)) as services:
        async with services.database.read() as session:
            people = await Users(session).page()
        return {person.id: await services.identity.issue(person) for person in people}


@contextlib.contextmanager
def limit(url: str, folder: Path) -> Iterator[Peer]:
    with python("limit", url, folder) as (process, address):
        yield Limit(name=LIMIT, url=address, process=process)


@contextlib.contextmanager
def gathering_limit(url: str, folder: Path) -> Iterator[Peer]:
    with python("gathering_limit", url, folder) as (process, address):
        yield Limit(name=GATHERING_LIMIT, url=address, process=process)


@contextlib.contextmanager
def stock(url: str, folder: Path) -> Iterator[Peer]:
    with python("stock", url, folder) as (process, address):
        yield Stock(name=STOCK, url=address, process=process)


def python(
    module: str, url: str, folder: Path
) -> contextlib.AbstractContextManager[tuple[psutil.Process, str]]:
    """Runs a module of this folder as a server."""
    command = [sys.executable, "-m", f"bench.peers.{module}_server"]
    return running(command, {"DATABASE_URL": url}, folder / f"{module}.log")


@contextlib.contextmanager
def postgraphile(url: str, folder: Path) -> Iterator[Peer]:
    """Raises NotInstalled if npm is missing or fails."""
    installed = install_postgraphile()
    environment = {
        "DATABASE_URL": url,
        "PORT": "0",
        "POOL_SIZE": "10",
        "NODE_ENV": "production",
        "GRAPHILE_ENV": "production",
    }
    command = [find_node(installed), "node_modules/.bin/postgraphile"]
    log = folder / "postgraphile.log"
    with running(command, environment, log, cwd=installed) as (process, address):
        yield PostGraphile(name=POSTGRAPHILE, url=address, process=process)


class NotInstalled(Exception):
    """The reason why PostGraphile is not measured."""


def install_postgraphile() -> Path:
    """Installs into a cache folder, with its own Node; takes seconds if already installed."""
    npm = shutil.which("npm")
    if npm is None:
        raise NotInstalled("npm is not installed")
    folder = Path(platformdirs.user_cache_dir("howdah", appauthor=False)) / "bench"
    shutil.copytree(PACKAGE, folder, dirs_exist_ok=True)
    command = [npm, "install", *NPM_OPTIONS]
    installing = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if installing.returncode:
        raise NotInstalled(f"npm could not install it:\n{installing.stderr.strip()[-1_000:]}")
    return folder


def find_node(folder: Path) -> str:
    """The Node of the package for this platform: the general one needs an install script."""
    for binary in (folder / "node_modules").glob("node-*/bin/node"):
        return str(binary)
    if found := shutil.which("node"):
        return found
    raise NotInstalled("there is no package of Node for this platform, and none on the PATH")


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

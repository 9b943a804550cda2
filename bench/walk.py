"""The modules that one HTTP request passes: `make bench-walk`.

A module counts if one of its functions is called in each of several requests after the warm-up.
What is executed at import, and what only some requests do, does not count.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import FrameType
from typing import Any, Self

from db.services import Services, open_services
from db.settings import Settings
from db.users import Role
from graph.app import build_app
from graph.auth import authenticate
from graph.schema import schema
from graph.server.listening import address_of, listen
from graph.server.uvicorn_server import create_server

ROOT = Path(__file__).parents[1]
TASKS = "{ tasks(first: 20) { nodes { id title completed createdAt } pageInfo { endCursor } } }"
CREATE = 'mutation { createTask(input: {title: "Water the plants"}) { task { id } } }'
WARM_UP = 20
REQUESTS = 5


class Walk:
    """Counts the calls of functions of this project, by module, while it is entered."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def __enter__(self) -> Self:
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call":
            self.calls[frame.f_code.co_filename] += 1


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[tuple[Services, str]]:
    """A server in this process and thread, so that its calls can be counted."""
    async with open_services(settings) as services:
        app = build_app(
            settings,
            schema=schema,
            authenticate=authenticate,
            open_services=lambda _: contextlib.nullcontext(services),
        )
        server = create_server(app, settings)
        with listen(settings) as listener:
            task = asyncio.create_task(server.serve(sockets=[listener]))
            try:
                yield services, address_of(listener)
            finally:
                server.should_exit = True
                await task


async def sign_up(services: Services) -> str:
    """An access token of a new user."""
    user = await services.identity.create(
        email="ada@example.com", password="correct horse battery", name="Ada", role=Role.USER
    )
    return await services.identity.issue(user)


def asker(url: str, token: str) -> Callable[[str], dict[str, Any]]:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(query: str) -> dict[str, Any]:
        body = json.dumps({"query": query}).encode()
        request = urllib.request.Request(url, data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            answer: dict[str, Any] = json.load(response)
        if answer.get("errors"):
            raise SystemExit(f"The request failed: {answer['errors']}")
        return answer

    return ask


async def walk(query: str) -> Counter[str]:
    """The modules under `graph` and `db` that each request passes, with the calls of the last."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), port=0, env="development")
        async with serving(settings) as (services, url):
            ask = asker(url, await sign_up(services))
            for _ in range(WARM_UP):
                await asyncio.to_thread(ask, CREATE)
                await asyncio.to_thread(ask, query)
            walks: list[Counter[str]] = []
            for _ in range(REQUESTS):
                with Walk() as seen:
                    await asyncio.to_thread(ask, query)
                walks.append(seen.calls)
    names = set.intersection(*(set(seen) for seen in walks))
    ours = {name: module for name in names if (module := module_of(name)) is not None}
    return Counter({module: walks[-1][name] for name, module in ours.items()})


def module_of(filename: str) -> str | None:
    path = Path(filename)
    if not path.is_relative_to(ROOT):
        return None
    module = path.relative_to(ROOT).with_suffix("")
    return ".".join(module.parts) if module.parts[0] in {"graph", "db"} else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--query", default=TASKS)
    passed = asyncio.run(walk(parser.parse_args().query))
    for module, calls in sorted(passed.items()):
        print(f"{calls:>6}  {module}")
    print(f"{len(passed)} modules, {passed.total()} calls")


if __name__ == "__main__":
    main()

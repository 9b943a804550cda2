"""Howdah's own parts against those that Strawberry ships: `python -m bench.libraries`.

CPU in this process without sockets, medians of nine interleaved rounds (decisions 15 to 18).
Strawberry runs with its caches of parsed and validated documents.
"""

import asyncio
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias, cast

import asyncpg
import strawberry
from starlette.types import ASGIApp
from strawberry.asgi import GraphQL
from strawberry.dataloader import DataLoader
from strawberry.extensions import ParserCache, ValidationCache

from db.postgres.embedded import EmbeddedPostgres
from graph.context import Context
from graph.kit.loaders import BatchLoader
from tests.fixtures import toy

ROUNDS = 9
EVENTS = 2_000
ROWS, DEEP = 1_000_000, 900_000
HOST = (b"host", b"127.0.0.1:8000")

Work: TypeAlias = Callable[[], Awaitable[object]]


class Ours(BatchLoader[int, int]):
    async def find(self, keys: list[int]) -> Mapping[int, int]:
        return {key: key for key in keys}


async def theirs(keys: list[int]) -> list[int]:
    return keys


async def compare(name: str, works: Mapping[str, Work], *, calls: int, per: int = 1) -> None:
    """Prints the CPU of each work in microseconds, divided by `per` for each call."""
    taken: dict[str, list[float]] = {each: [] for each in works}
    for _ in range(ROUNDS):
        for each, work in works.items():
            began = time.process_time()
            for _ in range(calls):
                await work()
            taken[each].append((time.process_time() - began) / calls / per * 1e6)
    medians = [f"{each} {statistics.median(times):,.1f} us" for each, times in taken.items()]
    print(f"{name:32}{', '.join(medians)}")


async def loaders() -> None:
    for keys in (1, 50, 1_000):

        async def ours(keys: int = keys) -> None:
            loader = Ours(cast("Context", SimpleNamespace(task=None)))
            await loader.load_many(range(keys))

        async def library(keys: int = keys) -> None:
            loader = DataLoader(load_fn=theirs)
            await asyncio.gather(*map(loader.load, range(keys)))

        works: dict[str, Work] = {"ours": ours, "Strawberry": library}
        await compare(f"loader, {keys} keys", works, calls=max(1, 2_000 // keys))


def scope_of(kind: str, state: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    common = {"path": "/graphql", "raw_path": b"/graphql", "root_path": "", "query_string": b""}
    ends = {"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000), "http_version": "1.1"}
    return {"type": kind, "asgi": {"version": "3.0"}, "state": dict(state)} | common | ends | more


async def post(app: ASGIApp, state: Mapping[str, Any]) -> bytes:
    body = json.dumps({"query": "{ hello }"}).encode()
    messages: asyncio.Queue[Any] = asyncio.Queue()
    messages.put_nowait({"type": "http.request", "body": body, "more_body": False})
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [HOST, (b"content-type", b"application/json"), (b"accept", b"application/json")]
    await app(
        scope_of("http", state, method="POST", scheme="http", headers=headers), messages.get, send
    )
    return cast("bytes", sent[-1]["body"])


async def follow(app: ASGIApp, state: Mapping[str, Any]) -> None:
    query = f"subscription {{ count(to: {EVENTS}) }}"
    messages: asyncio.Queue[Any] = asyncio.Queue()
    messages.put_nowait({"type": "websocket.connect"})
    for message in (
        {"type": "connection_init"},
        {"type": "subscribe", "id": "1", "payload": {"query": query}},
    ):
        messages.put_nowait({"type": "websocket.receive", "text": json.dumps(message)})
    completed, received = asyncio.Event(), 0

    async def send(message: Any) -> None:
        nonlocal received
        text = message.get("text") or ""
        received += '"next"' in text
        if '"complete"' in text:
            completed.set()

    scope = scope_of(
        "websocket", state, scheme="ws", headers=[HOST], subprotocols=["graphql-transport-ws"]
    )
    task = asyncio.ensure_future(app(scope, messages.get, send))
    async with asyncio.timeout(60):
        await completed.wait()
        messages.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await task
    if received != EVENTS:
        raise SystemExit(f"{received} of {EVENTS} events arrived")


async def transports() -> None:
    ours = toy.toy_app(toy.Door())
    parsed, validated = ParserCache(), ValidationCache()
    caches = [lambda: parsed, lambda: validated]
    library = GraphQL(
        strawberry.Schema(toy.Query, toy.Mutation, toy.Subscription, extensions=caches)
    )
    async with ours.router.lifespan_context(ours) as opened:
        state = dict(opened or {})
        if await post(ours, state) != await post(library, {}):
            raise SystemExit("The two answer differently.")
        works: dict[str, Work] = {
            "ours": lambda: post(ours, state),
            "Strawberry": lambda: post(library, {}),
        }
        await compare("HTTP, { hello }", works, calls=300)
        works = {"ours": lambda: follow(ours, state), "Strawberry": lambda: follow(library, {})}
        await compare("WebSocket, one event", works, calls=1, per=EVENTS)


async def paging() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with await EmbeddedPostgres.open(Path(folder) / "postgres") as postgres:
            connection = await asyncpg.connect(postgres.url)
            await connection.execute(
                "CREATE TABLE t (id int PRIMARY KEY, at timestamptz NOT NULL);"
                "INSERT INTO t SELECT n, now() - n * interval '1 s' "
                f"FROM generate_series(1, {ROWS}) AS n; CREATE INDEX ON t (at, id); ANALYZE t"
            )
            pages = {
                "keyset": "WHERE (at, id) > ($1, $2) ORDER BY at, id LIMIT 51",
                "offset": "WHERE $1::timestamptz <= now() AND $2::int > 0 "
                f"ORDER BY at, id OFFSET {DEEP} LIMIT 51",
            }
            last = await connection.fetchrow(
                f"SELECT at, id FROM t ORDER BY at, id OFFSET {DEEP - 1} LIMIT 1"
            )
            assert last is not None
            for name, clause in pages.items():
                statement = await connection.prepare(f"SELECT * FROM t {clause}")
                times = []
                for _ in range(ROUNDS):
                    began = time.perf_counter()
                    await statement.fetch(*last)
                    times.append((time.perf_counter() - began) * 1e3)
                print(f"row {DEEP:,} by {name:18}{statistics.median(times):,.2f} ms")
            await connection.close()


async def main() -> None:
    logging.disable(logging.WARNING)
    await loaders()
    await transports()
    await paging()


if __name__ == "__main__":
    asyncio.run(main())

"""Floods that need other requests than a GraphQL document: files, links, pages, sockets."""

import asyncio
import contextlib
import itertools
import json
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from multiprocessing.sharedctypes import Synchronized
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import uvloop
import websockets

from bench.clients import answer_to, converse, request
from graph.transport.graphiql import DIST

Counter: TypeAlias = "Synchronized[int]"
Prepare: TypeAlias = Callable[[str, str], Awaitable[list[bytes]]]
"""Returns the requests of a flood, from the API's address and the flooding user's token."""
LINKS = 3_000
UPLOADS = 500
UPLOAD_BYTES = 16_384
ALIASES = 50
"""Mutations of one document."""
LISTED_FILES = 200
LISTS = "{ buckets(first: 20) { nodes { name files(first: 100) { nodes { location size } } } } }"
DOWNLOAD = "query($id: ID!) { file(id: $id) { downloadUrl } }"
CREATE_LARGE = """mutation($input: CreateFileInput!) { createFile(input: $input) {
  file { id } uploadUrl } }"""
CREATE_BUCKET = """mutation($name: String!) { createBucket(input: {name: $name}) {
  bucket { id } } }"""
CREATE_FILE = (
    'f{0}: createFile(input: {{bucketId: $id, location: "{1}", size: {2}}}) {{ uploadUrl }}'
)
SUBPROTOCOL = websockets.Subprotocol("graphql-transport-ws")
RETRY_S = 0.01
TRICKLES = 8
"""Slow connections for each of the connections of other floods."""
TRICKLE_S = 0.05
SLOW_HEAD = b"GET /graphql HTTP/1.1\r\nHost: bench\r\nX-Slow: "
SLOW_BODY = (
    b"POST /graphql HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
    b"Content-Length: 1000000\r\n\r\n"
)
DOWNLOADED_BYTES = 4_000_000


async def storage_lists(address: str, token: str) -> list[bytes]:
    """Lists of a user with files, which the first call creates."""
    found = await _ask(address, token, "{ buckets(first: 1) { nodes { id } } }")
    if not found["buckets"]["nodes"]:
        await _upload_links(address, token, LISTED_FILES)
    return [request(address, {"query": LISTS}, token=token)]


async def uploads(address: str, token: str) -> list[bytes]:
    """Each link accepts one upload; the requests after that are refused."""
    head = f"Content-Length: {UPLOAD_BYTES}\r\n"
    links = await _upload_links(address, token, UPLOADS)
    return [_raw(address, link, method="PUT", head=head) + bytes(UPLOAD_BYTES) for link in links]


async def downloads(address: str, token: str) -> list[bytes]:
    """One file of some megabytes."""
    made = await _ask(address, token, CREATE_BUCKET, name=f"flood-{secrets.token_hex(4)}")
    values = {
        "bucketId": made["createBucket"]["bucket"]["id"],
        "location": "large",
        "size": str(DOWNLOADED_BYTES),
    }
    created = (await _ask(address, token, CREATE_LARGE, input=values))["createFile"]
    head = f"Content-Length: {DOWNLOADED_BYTES}\r\n"
    put = _raw(address, created["uploadUrl"], method="PUT", head=head) + bytes(DOWNLOADED_BYTES)
    await converse(address, iter([put]), lambda _sent_at, _answer: False)
    file = (await _ask(address, token, DOWNLOAD, id=created["file"]["id"]))["file"]
    return [_raw(address, file["downloadUrl"])]


async def metrics(address: str, _: str) -> list[bytes]:
    return [_raw(address, "/metrics")]


async def assets(address: str, _: str) -> list[bytes]:
    """The largest script of GraphiQL, if it was built."""
    scripts = sorted((DIST / "assets").glob("*.js"), key=lambda path: path.stat().st_size)
    name = scripts[-1].name if scripts else "missing.js"
    path = f"{urlsplit(address).path}/assets/{name}"
    return [_raw(address, path, head="Accept-Encoding: gzip\r\n")]


async def bad_links(address: str, _: str) -> list[bytes]:
    links = (f"/files/{secrets.token_hex(16)}?expires=9999999999&signature=x" for _ in range(LINKS))
    return [_raw(address, link) for link in links]


async def single_requests(address: str, _: str) -> list[bytes]:
    """Each ends its connection, so that the next needs another."""
    return [_raw(address, "/healthz", head="Connection: close\r\n")]


def ask_on(address: str, requests: list[bytes], connections: int, answers: Counter) -> None:
    """Sends requests repeatedly and ignores the responses."""

    def answered(_sent_at: float, _answer: bytearray) -> bool:
        answers.value += 1
        return True

    endless = itertools.cycle(requests)

    async def ask_again() -> None:
        while True:
            with contextlib.suppress(OSError):  # refused uploads end their connection
                await converse(address, endless, answered)
            await asyncio.sleep(RETRY_S)

    _run_on(connections, ask_again)


def slow_heads_on(address: str, connections: int, pieces: Counter) -> None:
    _trickle_on(address, connections, SLOW_HEAD, pieces)


def slow_bodies_on(address: str, connections: int, pieces: Counter) -> None:
    _trickle_on(address, connections, SLOW_BODY, pieces)


def _trickle_on(address: str, connections: int, start: bytes, pieces: Counter) -> None:
    """Sends requests byte by byte, until the server ends the connection."""
    place = urlsplit(address)

    async def trickle() -> None:
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(place.hostname, place.port)
                writer.write(start)
                while await _still_open(writer):
                    writer.write(b"x")
                    await writer.drain()
                    pieces.value += 1
            await asyncio.sleep(RETRY_S)

    _run_on(TRICKLES * connections, trickle)


async def _still_open(writer: asyncio.StreamWriter) -> bool:
    """Waits until the next byte; uvloop raises another error if it is written to a closed one."""
    await asyncio.sleep(TRICKLE_S)
    return not writer.is_closing()


def open_sockets_on(address: str, connections: int, answers: Counter) -> None:
    """Opens sockets without a token, and closes each when it is acknowledged or refused."""
    url = address.replace("http", "ws", 1)

    async def open_on() -> None:
        while True:
            with contextlib.suppress(websockets.InvalidStatus, websockets.ConnectionClosed):
                async with websockets.connect(url, subprotocols=[SUBPROTOCOL]) as socket:
                    await socket.send('{"type": "connection_init"}')
                    await socket.recv()
            answers.value += 1

    _run_on(connections, open_on)


def hold_sockets_on(address: str, connections: int, answers: Counter) -> None:
    """Opens sockets that never sign in, and sends pings on each."""
    url = address.replace("http", "ws", 1)

    async def hold() -> None:
        while True:
            with contextlib.suppress(websockets.InvalidStatus, websockets.ConnectionClosed):
                async with websockets.connect(url, subprotocols=[SUBPROTOCOL]) as socket:
                    await socket.send('{"type": "connection_init"}')
                    while await socket.recv():
                        answers.value += 1
                        await socket.send('{"type": "ping"}')
            await asyncio.sleep(RETRY_S)

    _run_on(connections, hold)


STRANGERS: dict[str, Callable[[str, int, Counter], None]] = {
    "sockets without a token": open_sockets_on,
    "pings without a token": hold_sockets_on,
    "slow heads": slow_heads_on,
    "slow bodies": slow_bodies_on,
}
"""Floods without a token that are no sequence of requests."""


def _run_on(connections: int, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        await asyncio.gather(*(work() for _ in range(connections)))

    uvloop.run(run())


def _raw(address: str, target: str, *, method: str = "GET", head: str = "") -> bytes:
    """The bytes of a request. `target` is a path, or a URL of the same server."""
    place = urlsplit(target)
    path = f"{place.path}?{place.query}" if place.query else place.path
    return f"{method} {path} HTTP/1.1\r\nHost: {urlsplit(address).netloc}\r\n{head}\r\n".encode()


async def _upload_links(address: str, token: str, count: int) -> list[str]:
    """Links of new files in a new bucket."""
    made = await _ask(address, token, CREATE_BUCKET, name=f"flood-{secrets.token_hex(4)}")
    links: list[str] = []
    while len(links) < count:
        fields = " ".join(
            CREATE_FILE.format(number, f"flood/{len(links) + number}", UPLOAD_BYTES)
            for number in range(ALIASES)
        )
        created = await _ask(
            address,
            token,
            f"mutation($id: ID!) {{ {fields} }}",
            id=made["createBucket"]["bucket"]["id"],
        )
        links += [one["uploadUrl"] for one in created.values()]
    return links


async def _ask(address: str, token: str, query: str, **variables: Any) -> Any:
    body = {"query": query, "variables": variables}
    return json.loads(await answer_to(address, request(address, body, token=token)))["data"]

"""The load generator: each connection sends its next request when it has the response.

Requests are encoded beforehand and responses are only counted, so that one process can send more
than any of the servers can answer.
"""

import asyncio
import gc
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import NamedTuple, TypeAlias, cast
from urllib.parse import urlsplit

import msgspec

PATIENCE_S = 60

Answered: TypeAlias = Callable[[float, bytearray], bool]
"""Receives the time a request was sent and the response; returns whether to continue."""


class Measured(NamedTuple):
    """The result of one run."""

    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    """Per request, of the server's process. Other load affects it less than the rate."""
    database_cpu_ms: float
    """Per request, of all processes of PostgreSQL."""


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, requests: Iterator[bytes], answered: Answered) -> None:
        self._received = bytearray()
        self._expected = 0
        self._requests = requests
        self._answered = answered
        self._ended = asyncio.get_running_loop().create_future()

    async def ended(self) -> None:
        await self._ended

    def close(self) -> None:
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own, of no such class
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._expected:
            head, end, _ = self._received.partition(b"\r\n\r\n")
            if not end:
                return
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            self._expected = len(head) + len(end) + int(length)
        if len(self._received) >= self._expected:
            self._hand_over()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_exception(error or ConnectionError("the server hung up"))

    def _ask(self) -> None:
        self._received = bytearray()
        self._expected = 0
        self._sent_at = time.perf_counter()
        self._transport.write(next(self._requests))

    def _hand_over(self) -> None:
        try:
            more = self._answered(self._sent_at, self._received)
        except ValueError as error:
            self._ended.set_exception(error)
            self._transport.abort()
            return
        if more:
            self._ask()
        else:
            self._ended.set_result(None)
            self._transport.close()


def request(url: str, body: object, *, token: str = "") -> bytes:
    """The bytes of an HTTP POST."""
    place = urlsplit(url)
    sign_in = f"Authorization: Bearer {token}\r\n" if token else ""
    payload = msgspec.json.encode(body)
    return (
        f"POST {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\n{sign_in}"
        f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
    ).encode() + payload


async def answer_to(url: str, request: bytes) -> bytearray:
    """The body of one response."""
    answers: list[bytearray] = []

    def keep(_: float, answer: bytearray) -> bool:
        answers.append(answer)
        return False

    await converse(url, iter([request]), keep)
    _refuse_error(answers[0])
    return answers[0].partition(b"\r\n\r\n")[2]


async def measure(
    url: str,
    requests: Sequence[bytes],
    *,
    connections: int,
    warm_s: float,
    seconds: float,
    cpu_s: Callable[[], float],
    database_cpu_s: Callable[[], float] = lambda: 0.0,
) -> Measured:
    """Sends `requests` repeatedly; responses of the first `warm_s` are not counted.

    Takes twice as long if a slow server gave too few responses for a median.
    """
    begins_at = time.perf_counter() + warm_s
    ends_at = begins_at + seconds
    times_ms: list[float] = []

    def answered(sent_at: float, answer: bytearray) -> bool:
        now = time.perf_counter()
        if begins_at <= now < ends_at:
            times_ms.append((now - sent_at) * 1000)
        _refuse_error(answer)
        return now < ends_at

    async def cpu_used() -> tuple[float, float]:
        await asyncio.sleep(warm_s)
        before, database_before = cpu_s(), database_cpu_s()
        await asyncio.sleep(ends_at - time.perf_counter())
        return cpu_s() - before, database_cpu_s() - database_before

    endless = itertools.cycle(requests)
    with _no_collection():
        watch = asyncio.create_task(cpu_used())
        await asyncio.gather(*(converse(url, endless, answered) for _ in range(connections)))
        used_s, database_used_s = await watch
    count = len(times_ms)
    if count < 2:
        return await measure(
            url,
            requests,
            connections=connections,
            warm_s=warm_s,
            seconds=2 * seconds,
            cpu_s=cpu_s,
            database_cpu_s=database_cpu_s,
        )
    cuts = statistics.quantiles(times_ms, n=100, method="inclusive")
    return Measured(
        per_s=count / seconds,
        p50_ms=cuts[49],
        p99_ms=cuts[98],
        cpu_ms=used_s * 1000 / count,
        database_cpu_ms=database_used_s * 1000 / count,
    )


async def warm(url: str, requests: Sequence[bytes], *, connections: int, seconds: float) -> None:
    """Fills the caches of a server, and lets Node compile."""
    ends_at = time.perf_counter() + seconds
    endless = itertools.cycle(requests)

    def answered(_: float, answer: bytearray) -> bool:
        _refuse_error(answer)
        return time.perf_counter() < ends_at

    await asyncio.gather(*(converse(url, endless, answered) for _ in range(connections)))


async def converse(url: str, requests: Iterator[bytes], answered: Answered) -> None:
    """Runs until the client is done, or the server does not answer."""
    place = urlsplit(url)
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(
        lambda: Client(requests, answered), place.hostname or "", place.port or 80
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            await client.ended()
    finally:
        client.close()


def _refuse_error(answer: bytearray) -> None:
    if not answer.startswith(b"HTTP/1.1 200") or b'"errors"' in answer:
        raise ValueError(answer[:2_000].decode(errors="replace"))


def _no_collection() -> ExitStack:
    """Disables garbage collection, which would delay responses of another process."""
    stack = ExitStack()
    gc.collect()
    gc.disable()
    stack.callback(gc.enable)
    return stack

"""A user of a soak: each request goes to any replica, and may get no answer."""

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from tests.survival.soak.replicas import Replica, Replicas

EXECUTE = """mutation($input: ExecuteQueryInput!) { executeQuery(input: $input) {
  run { id state command error { sqlstate message } } } }"""
READ = "query($id: ID!) { queryRun(id: $id) { id state command error { sqlstate message } } }"
CANCEL = "mutation($id: ID!) { cancelQuery(input: {id: $id}) { outcome latencyMs } }"
ACTIVE = {"QUEUED", "RUNNING"}
TRANSIENT = {"UNAVAILABLE", "OVERLOADED", "TIMEOUT", "RATE_LIMITED"}
"""Codes after which a request is repeated. A change may have been made."""
PAUSE_S = 0.2
LONGEST_PAUSE_S = 2.0
ANSWER_S = 90.0
"""A run ends or is found interrupted within this time."""
DROP_SHARE = 0.03
"""Requests whose client goes away before the answer."""


class Unanswered(Exception):
    """The outcome of a request is not known."""


class Refused(Exception):
    """The server has answered with an error: nothing was executed."""


@dataclass
class Figures:
    requests: int = 0
    unanswered: int = 0
    dropped: int = 0
    statements: int = 0
    cancels: int = 0
    kills: int = 0
    sessions: int = 0
    restarts: int = 0
    events: int = 0
    failed_runs: int = 0
    repeatable: int = 0
    failed_repeatable: int = 0
    slowest: tuple[float, str] = (0.0, "")
    """Seconds until the answer of a repeatable call, its document, and why it was repeated."""
    cancel_ms: list[int] = field(default_factory=lambda: [0])
    lost_s: list[float] = field(default_factory=lambda: [0.0])
    internal_errors: list[str] = field(default_factory=list)


class Client:
    """`ask` raises Unanswered or Refused; the others ask until there is an answer."""

    def __init__(
        self, token: str, replicas: Replicas, dice: random.Random, figures: Figures
    ) -> None:
        self.figures = figures
        self.headers = {"Authorization": f"Bearer {token}"}
        self._replicas = replicas
        self._dice = dice
        self._http = httpx.AsyncClient(headers=self.headers, timeout=ANSWER_S)

    async def close(self) -> None:
        await self._http.aclose()

    async def ask(self, query: str, *, may_drop: bool = False, **variables: Any) -> Any:
        return (await self.ask_at(query, may_drop=may_drop, **variables))[1]

    async def ask_at(
        self, query: str, *, may_drop: bool = False, **variables: Any
    ) -> tuple[tuple[Replica, int], Any]:
        """The answer, and the server that gave it."""
        place, server = self._replicas.choose()
        at = place, place.incarnation
        self.figures.requests += 1
        request = self._http.post(server.address, json={"query": query, "variables": variables})
        try:
            if may_drop and self._dice.random() < DROP_SHARE:
                self.figures.dropped += 1
                request = asyncio.wait_for(request, self._dice.uniform(0, 0.05))
            body = (await request).json()
        except (httpx.HTTPError, TimeoutError, ValueError) as error:
            self.figures.unanswered += 1
            raise Unanswered(repr(error)) from None
        return at, self._data(body)

    async def ask_until_answered(self, query: str, **variables: Any) -> Any:
        """For requests that may be repeated."""
        began, reasons = time.monotonic(), [" ".join(query.split())]
        self.figures.repeatable += 1
        while True:
            try:
                answer = await self.ask(query, **variables)
            except Unanswered as error:
                reasons.append(f"{time.monotonic() - began:.1f} s: {error}")
                if time.monotonic() > began + ANSWER_S:
                    self.figures.failed_repeatable += 1
                    raise
                await asyncio.sleep(PAUSE_S)
            else:
                took_s = time.monotonic() - began
                self.figures.slowest = max(self.figures.slowest, (took_s, "\n  ".join(reasons)))
                return answer

    async def start(self, session: str, statement: str, *, key: str = "", **more: Any) -> Any:
        """The run, which may not have ended."""
        self.figures.statements += 1
        values = {"sessionId": session, "statement": statement} | more
        values["idempotencyKey"] = key or str(uuid4())
        try:
            answer = await self.ask(EXECUTE, may_drop=True, input=values)
        except Unanswered:
            if self._dice.random() < 0.5:
                raise
            answer = await self.ask_until_answered(EXECUTE, input=values)
        return answer["executeQuery"]["run"]

    async def execute(self, session: str, statement: str, **more: Any) -> Any:
        """The run as it ended. After an error of the network, the same key tells its outcome."""
        return await self.end_of(await self.start(session, statement, waitMs=5_000, **more))

    async def end_of(self, run: Any) -> Any:
        until, pause_s = time.monotonic() + ANSWER_S, PAUSE_S / 2
        while run["state"] in ACTIVE:
            if time.monotonic() > until:
                raise AssertionError(f"the run has not ended: {run}")
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            run = (await self.ask_until_answered(READ, id=run["id"]))["queryRun"]
        return run

    async def cancel(self, run: Any) -> None:
        answer = (await self.ask_until_answered(CANCEL, id=run["id"]))["cancelQuery"]
        self.figures.cancels += 1
        self.figures.cancel_ms.append(answer["latencyMs"])

    def _data(self, body: Any) -> Any:
        if not body.get("errors"):
            return body["data"]
        error = body["errors"][0]
        code = error["extensions"]["code"]
        if code in TRANSIENT:
            raise Unanswered(error["message"])
        if code == "INTERNAL":
            self.figures.internal_errors.append(error["message"])
            raise Unanswered(error["message"])
        raise Refused(f"{code}: {error['message']}")

"""A client of the replicas, which notes what it knows of the outcome of each request."""

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Any

import httpx

from tests.survival.history.events import Outcome
from tests.survival.soak.replicas import Replica, Replicas

ANSWER_S = 5.0
"""The client gives up after this time, and does not know the outcome."""
AVOID_S = 1.0
"""A replica that gave no answer gets no request of this client for this time, as by a balancer."""
OUTAGE_S = 180.0
"""No fault and no recovery lasts that long."""
PAUSE_S = 0.1
SEEN = "Howdah-Seen"
MOST_SEEN = 20
REFUSALS = {"CONFLICT", "OVERLOADED", "RATE_LIMITED", "NOT_FOUND", "FORBIDDEN"}
"""Codes that say that nothing was changed."""
UNCLEAR = {"UNAVAILABLE", "TIMEOUT", "INTERNAL"}


class Answer:
    """`data` is None unless the request was done, by the replica `by`."""

    def __init__(self, outcome: Outcome, data: Any = None, by: Replica | None = None) -> None:
        self.outcome = outcome
        self.data = data
        self.by = by


class Seen:
    """The positions of a client, kept as in docs/clients.md. One that forgets keeps the first."""

    def __init__(self, *, forgets: bool = False) -> None:
        self.values = [""]
        self._forgets = forgets

    def keep(self, value: str, sent: Sequence[str]) -> None:
        if self._forgets and self.values != [""]:
            return
        self.values = [*(each for each in self.values if each not in sent), value]
        if len(self.values) > MOST_SEEN:
            self.values = ["-"]


class Caller:
    """`seen` are the positions of a client that keeps them."""

    def __init__(
        self, token: str, replicas: Replicas, dice: random.Random, seen: Seen | None = None
    ) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self._seen = seen
        self.dice = dice
        self.internal_errors: list[str] = []
        self._http = httpx.AsyncClient(headers=headers, timeout=ANSWER_S)
        self._replicas = replicas
        self._avoided: dict[Replica, float] = {}

    async def close(self) -> None:
        await self._http.aclose()

    async def ask(self, query: str, **variables: Any) -> Answer:
        """By any replica."""
        place = self._choose()
        server = place.server
        if server is None:  # the last ones have just been killed
            await asyncio.sleep(PAUSE_S)
            return Answer(Outcome.REFUSED)
        try:
            request = {"query": query, "variables": variables}
            body = await self._post(server.address, request)
        except (httpx.HTTPError, ValueError):
            self._avoided[place] = time.monotonic() + AVOID_S
            await asyncio.sleep(PAUSE_S)
            return Answer(Outcome.UNKNOWN)
        if not (errors := body.get("errors")):
            return Answer(Outcome.DONE, body["data"], place)
        return await self._refused(errors[0])

    async def _post(self, address: str, request: Any) -> Any:
        if self._seen is None:
            return (await self._http.post(address, json=request)).json()
        sent = self._seen.values
        headers = {SEEN: " ".join(sent)}
        answer = await self._http.post(address, json=request, headers=headers)
        body = answer.json()
        if (position := answer.headers.get(SEEN)) is not None:
            self._seen.keep(position, sent)
        return body

    async def ask_until_done(self, query: str, **variables: Any) -> Any:
        """For requests that may be repeated. Returns their data."""
        async with asyncio.timeout(OUTAGE_S):
            while True:
                answer = await self.ask(query, **variables)
                if answer.outcome is Outcome.DONE:
                    return answer.data
                await asyncio.sleep(PAUSE_S)

    def _choose(self) -> Replica:
        now = time.monotonic()
        places = self._replicas.places
        good = [place for place in places if place.server and self._avoided.get(place, 0) < now]
        return self.dice.choice(good or places)

    async def _refused(self, error: Any) -> Answer:
        code = error["extensions"]["code"]
        if code == "INTERNAL":
            self.internal_errors.append(error["message"])
        if code in UNCLEAR:
            await asyncio.sleep(PAUSE_S)
            return Answer(Outcome.UNKNOWN)
        assert code in REFUSALS, error
        return Answer(Outcome.REFUSED)

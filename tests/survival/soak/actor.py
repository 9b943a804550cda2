"""A client that opens sessions and executes random statements in them until the time is over."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

from tests.fixtures.replicas import Socket
from tests.survival.soak.client import PAUSE_S, Client, Refused, Unanswered
from tests.survival.soak.ledger import Fate, Ledger
from tests.survival.soak.replicas import Replica, Replicas

OPEN = """mutation($input: OpenSessionInput!) {
  openSession(input: $input) { session { id } } }"""
CLOSE = "mutation($id: ID!) { closeSession(input: {sessionId: $id}) { session { state } } }"
END = """mutation($id: ID!) { %sTransaction(input: {sessionId: $id}) {
  run { id state command error { sqlstate message } } } }"""
WATCH = """subscription($id: ID!) { queryStatus(id: $id) {
  state waiting { event blockedBy { pid } } progress { phase } } }"""
INSERT = "INSERT INTO ledger VALUES ($1)"
HOT_ROWS = 5
STATEMENTS = 20
"""Maximum number of steps in a session."""

IsOver = Callable[[], bool]
Holders = dict[str, tuple[Replica, int]]
"""The server that holds each open session."""


class SessionEnded(Exception):
    """The session cannot be used any more: it was lost, or its state is not known."""


class Actor:
    """One of the sessions that are open at once, and the next one when it has ended."""

    def __init__(
        self,
        client: Client,
        connection: str,
        replicas: Replicas,
        ledger: Ledger,
        holders: Holders,
        dice: random.Random,
    ) -> None:
        self._client = client
        self._connection = connection
        self._replicas = replicas
        self._ledger = ledger
        self._holders = holders
        self._dice = dice
        self._autocommit = True

    async def live(self, is_over: IsOver) -> None:
        while not is_over():
            try:
                session = await self._open()
            except (Unanswered, Refused):
                await asyncio.sleep(PAUSE_S)
                continue
            try:
                for _ in range(self._dice.randint(1, STATEMENTS)):
                    if is_over():
                        break
                    await self._step(session)
            except (Unanswered, Refused, SessionEnded):
                pass
            await self._leave(session, stays_open=is_over())

    async def _open(self) -> str:
        self._autocommit = self._dice.random() < 0.8
        values = {
            "connectionId": self._connection,
            "autocommit": self._autocommit,
            "idempotencyKey": str(uuid4()),
        }
        at, answer = await self._client.ask_at(OPEN, input=values)
        session = str(answer["openSession"]["session"]["id"])
        self._holders[session] = at
        self._client.figures.sessions += 1
        return session

    async def _leave(self, session: str, *, stays_open: bool) -> None:
        """At the end the sessions stay open: the servers close them when they stop."""
        if not stays_open:
            with contextlib.suppress(Refused):  # it is closed
                await self._client.ask_until_answered(CLOSE, id=session)
            self._holders.pop(session, None)

    async def _step(self, session: str) -> None:
        steps = [self._insert, self._transaction, self._transaction, self._cancelled, self._failing]
        await self._dice.choice(steps)(session)

    async def _insert(self, session: str) -> None:
        """A statement that commits by itself, unless the session has no autocommit."""
        if not self._autocommit:
            return await self._transaction(session)
        row = self._ledger.new_row()
        self._ledger.settle([row], Fate.EITHER)
        try:
            run = await self._client.execute(session, INSERT, parameters=[str(row)])
        except Refused:
            self._ledger.settle([row], Fate.ABSENT)
            raise
        self._ledger.settle([row], fate_of(run))
        return require_session(run)

    async def _transaction(self, session: str) -> None:
        if self._autocommit:
            require_success(await self._client.execute(session, "BEGIN"))
        rows: list[UUID] = []
        has_failed = False
        for _ in range(self._dice.randint(1, 4)):
            if self._dice.random() < 0.2:
                has_failed |= not await self._update_hot_row(session)
                continue
            row = self._ledger.new_row()
            run = await self._client.execute(session, INSERT, parameters=[str(row)])
            require_session(run)
            has_failed |= run["state"] != "SUCCEEDED"
            rows.append(row)
        await self._end(session, [] if has_failed else rows)

    async def _update_hot_row(self, session: str) -> bool:
        """Waits for other transactions, and may meet a deadlock. Returns whether it succeeded."""
        number = self._dice.randint(1, HOT_ROWS)
        update = "UPDATE hot SET n = n + 1 WHERE id = $1"
        run = await self._client.start(
            session, update, parameters=[number], waitMs=100, timeoutMs=20_000
        )
        if run["state"] == "RUNNING" and self._dice.random() < 0.5:
            await self._watch(run)
        ended = await self._client.end_of(run)
        require_session(ended)
        return bool(ended["state"] == "SUCCEEDED")

    async def _end(self, session: str, rows: list[UUID]) -> None:
        """Ends the transaction. `rows` are committed if the answer is a COMMIT."""
        match self._dice.choice(["commit", "commit", "COMMIT", "rollback", "ROLLBACK", "leave"]):
            case "leave":
                raise SessionEnded
            case ("rollback" | "ROLLBACK") as word:
                require_success(await self._finish(session, word))
            case word:
                self._ledger.settle(rows, Fate.EITHER)
                try:
                    run = await self._finish(session, word)
                except Refused:
                    self._ledger.settle(rows, Fate.ABSENT)
                    raise
                self._ledger.settle(rows, fate_of(run))
                require_session(run)

    async def _finish(self, session: str, word: str) -> Any:
        """By the mutation for it, or by a statement."""
        if word.isupper():
            return await self._client.execute(session, word)
        answer = await self._client.ask(END % word, may_drop=True, id=session)
        return await self._client.end_of(answer[f"{word}Transaction"]["run"])

    async def _cancelled(self, session: str) -> None:
        """A statement that another request cancels, at any moment of its life."""
        run = await self._client.start(session, "SELECT pg_sleep(20)", waitMs=0)
        if self._dice.random() < 0.3:
            await self._watch(run)
        await asyncio.sleep(self._dice.choice([0, 0, 0.01, 0.1]))
        await self._client.cancel(run)
        require_session(await self._client.end_of(run))
        if not self._autocommit:
            require_success(await self._client.execute(session, "ROLLBACK"))

    async def _failing(self, session: str) -> None:
        """An error fails the transaction, and COMMIT rolls it back."""
        if self._autocommit:
            require_success(await self._client.execute(session, "BEGIN"))
        row = self._ledger.new_row()
        require_session(await self._client.execute(session, INSERT, parameters=[str(row)]))
        require_session(await self._client.execute(session, "SELECT 1 / 0"))
        run = await self._client.execute(session, "COMMIT")
        require_session(run)
        assert run["command"] in {"ROLLBACK", None}, run

    async def _watch(self, run: Any) -> None:
        """Follows the run for a moment, then drops the socket."""
        _, server = self._replicas.choose()
        address = server.address.removeprefix("http://").partition("/")[0]
        try:
            async with asyncio.timeout(5), Socket.opened(address, self._client.headers) as socket:
                await socket.subscribe(WATCH, id=run["id"])
                await socket.hear()
                socket.drop()
                self._client.figures.dropped += 1
        except Exception:  # noqa: BLE001, S110 - the replica was killed: the run is what counts
            pass


def fate_of(run: Any) -> Fate:
    """What the end of an INSERT or a COMMIT says of the rows."""
    if run["state"] == "SUCCEEDED":
        return Fate.ABSENT if run["command"] == "ROLLBACK" else Fate.PRESENT
    sqlstate = (run["error"] or {}).get("sqlstate") or ""
    is_refused = run["state"] == "FAILED" and sqlstate and sqlstate[:2] not in {"08", "57"}
    return Fate.ABSENT if is_refused else Fate.EITHER


def require_session(run: Any) -> None:
    """Raises SessionEnded if the run was ended with its session."""
    if run["state"] == "INTERRUPTED":
        raise SessionEnded


def require_success(run: Any) -> None:
    require_session(run)
    if run["state"] != "SUCCEEDED":
        raise SessionEnded


def until(seconds: float) -> IsOver:
    ends_at = time.monotonic() + seconds
    return lambda: time.monotonic() >= ends_at

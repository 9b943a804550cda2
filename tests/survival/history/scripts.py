"""Transactions over several lists in a user's own database, each sent as a script."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from uuid import uuid4

from tests.survival.history.caller import PAUSE_S, Caller
from tests.survival.history.events import Append, Outcome, ReadList, Step

TABLE = """CREATE TABLE lists (key text PRIMARY KEY, items bigint[] NOT NULL);
GRANT ALL ON lists TO ada;
ALTER ROLE ada SET default_transaction_isolation = 'serializable'"""
EXECUTE = """mutation($input: ExecuteScriptInput!) {
  executeScript(input: $input) { scriptRun { id } } }"""
READ = """query($id: ID!) { scriptRun(id: $id) { state error { sqlstate message }
  runs(first: 100) { nodes { scriptIndex rows(first: 1) { rows } } } } }"""
ACTIVE = {"QUEUED", "RUNNING"}
OUTCOMES = {"SUCCEEDED": Outcome.DONE, "FAILED": Outcome.REFUSED}
"""A script that failed has committed nothing. Of any other, the outcome is unknown."""
LISTS = 4
LIST_LENGTH = 50


class Statement(NamedTuple):
    """Reads a list, and appends `value` before unless it is None."""

    key: str
    value: int | None

    @property
    def sql(self) -> str:
        if self.value is None:
            return f"SELECT items FROM lists WHERE key = '{self.key}'"  # noqa: S608 - our own key
        return (
            f"INSERT INTO lists VALUES ('{self.key}', ARRAY[{self.value}]) ON CONFLICT (key) "  # noqa: S608
            "DO UPDATE SET items = lists.items || excluded.items RETURNING items"
        )

    def steps(self, rows: Sequence[Sequence[str]] | None) -> Iterator[Step]:
        """What was done, and what was read if the rows are there."""
        if self.value is not None:
            yield Append(self.key, self.value)
        if rows is not None:
            text = rows[0][0].strip("{}") if rows else ""
            yield ReadList(self.key, tuple(map(int, filter(None, text.split(",")))))


class TargetLists:
    """The lists of one user. Long ones are replaced by others."""

    def __init__(self, user: int, connection: str) -> None:
        self._user = user
        self._connection = connection
        self._appends: Counter[int] = Counter()

    def draw(self, dice: random.Random, new_value: Iterator[int]) -> list[Statement]:
        statements = []
        for number in dice.sample(range(LISTS), dice.randint(2, 3)):
            key = f"{self._user}-{number}-{self._appends[number] // LIST_LENGTH}"
            is_append = dice.random() < 0.6
            self._appends[number] += is_append
            statements.append(Statement(key, next(new_value) if is_append else None))
        return statements

    def read_all(self) -> list[Statement]:
        return [
            Statement(f"{self._user}-{number}-{generation}", None)
            for number in range(LISTS)
            for generation in range(1 + self._appends[number] // LIST_LENGTH)
        ]

    async def execute(
        self, caller: Caller, statements: Sequence[Statement]
    ) -> tuple[Outcome, list[Step]]:
        """Sends a script until it is accepted: with its key it is executed once at most.

        Raises:
            LookupError: no replica knows the script any more.
        """
        values = {
            "connectionId": self._connection,
            "script": ";\n".join(statement.sql for statement in statements),
            "transaction": "SINGLE",
            "idempotencyKey": str(uuid4()),
        }
        accepted = (await caller.ask_until_done(EXECUTE, input=values))["executeScript"]
        while True:
            ended: Any = await caller.ask_until_done(READ, id=accepted["scriptRun"]["id"])
            script = ended["scriptRun"]
            if script is None:
                raise LookupError(accepted["scriptRun"]["id"])
            if script["state"] not in ACTIVE:
                break
            await asyncio.sleep(PAUSE_S)
        outcome = OUTCOMES.get(script["state"], Outcome.UNKNOWN)
        rows = {run["scriptIndex"]: run["rows"] for run in script["runs"]["nodes"]}
        steps: list[Step] = []
        for number, statement in enumerate(statements):
            page = rows.get(number) if outcome is Outcome.DONE else None
            steps += statement.steps(page["rows"] if page else None)
        return outcome, steps

"""Clients that append to lists, write registers and read both, as tasks of several users."""

import asyncio
import time
from collections.abc import Callable
from itertools import count
from typing import Any
from uuid import uuid4

from tests.survival.history.caller import PAUSE_S, Answer, Caller
from tests.survival.history.events import (
    NEVER,
    Anomaly,
    Append,
    Outcome,
    ReadList,
    ReadRegister,
    Step,
    Transaction,
    Write,
)
from tests.survival.history.scripts import Statement, TargetLists
from tests.survival.soak.ledger import Fate, Ledger
from tests.survival.soak.replicas import Replica

CREATE = """mutation($input: CreateTaskInput!) {
  createTask(input: $input) { task { id title description version } } }"""
UPDATE = """mutation($input: UpdateTaskInput!) {
  updateTask(input: $input) { task { id title description version } } }"""
READ = """query($ids: [ID!]!) { nodes(ids: $ids) {
  ... on Task { id title description version } } }"""
LISTS, REGISTERS = 4, 2
PAGE = 50
LIST_LENGTH = 60
"""Then another list takes its place: the text of a task has at most 1,000 characters."""
REGISTER_WRITES = 200


class Recorder:
    """The history of all clients, and the tasks that have to exist once."""

    def __init__(self) -> None:
        self.history: list[Transaction] = []
        self.created = Ledger()
        self.missing: list[Anomaly] = []
        self.wrote: dict[Replica, float] = {}
        """When the last write that each replica has acknowledged was sent."""
        self.values = count(1)
        self._parsed: dict[str, int] = {}

    def new_value(self) -> int:
        return next(self.values)

    def parse(self, text: str) -> tuple[int, ...]:
        """The values in the text of a task. Equal values are one object: histories are long."""
        return tuple(self._parsed.setdefault(word, int(word)) for word in text.split())

    def note(self, process: int, began: float, outcome: Outcome, *steps: Step) -> None:
        ended = time.monotonic() if outcome is Outcome.DONE else NEVER
        self.history.append(Transaction(process, began, ended, outcome, steps))


class User:
    """What the clients of one user share."""

    def __init__(self, target: TargetLists) -> None:
        self.target = target
        self.is_made = False
        self.is_ready = asyncio.Event()
        self.lists: list[str] = []
        self.registers: list[str] = []
        self.writes: dict[str, int] = {}
        self.replaced: set[str] = set()


class Worker:
    """A client: one request after the other."""

    def __init__(self, number: int, user: User, caller: Caller, recorder: Recorder) -> None:
        self.caller = caller
        self._number = number
        self._user = user
        self._recorder = recorder
        self._dice = caller.dice

    async def work(self, is_over: Callable[[], bool]) -> None:
        if not self._user.is_made:
            self._user.is_made = True
            await self._make_first()
        await self._user.is_ready.wait()
        operations = [self._append, self._write, self._read, self._create, self._transact]
        while not is_over():
            (operation,) = self._dice.choices(operations, weights=[48, 15, 28, 5, 4])
            await operation()

    async def read_all(self) -> None:
        """Reads the last state of all tasks of the user, which is part of the history."""
        ids = [*self._user.lists, *self._user.registers, *self._user.replaced]
        for start in range(0, len(ids), PAGE):
            while not await self._read_tasks(ids[start : start + PAGE]):  # noqa: ASYNC110
                await asyncio.sleep(PAUSE_S)
        while await self._execute(self._user.target.read_all()) is not Outcome.DONE:  # noqa: ASYNC110
            await asyncio.sleep(PAUSE_S)

    async def _append(self) -> None:
        """Reads a list and writes it with one more value, if it has not changed in between."""
        began = time.monotonic()
        id = self._dice.choice(self._user.lists)
        read = await self.caller.ask(READ, ids=[id])
        task = read.data["nodes"][0] if read.outcome is Outcome.DONE else None
        if read.outcome is Outcome.DONE and task is None:
            self._miss(id)
        if task is None:
            return
        seen, step = self._step(task), Append(id, self._recorder.new_value())
        text = " ".join(filter(None, [task["description"], str(step.value)]))
        values = {"id": id, "description": text, "expectedVersion": task["version"]}
        read_ended = time.monotonic()
        answer = await self.caller.ask(UPDATE, input=values)
        if answer.outcome is Outcome.DONE:
            after = self._step(answer.data["updateTask"]["task"])
            self._note(began, answer, seen, step, after)
        else:  # the read has happened, in any case
            self._recorder.history.append(
                Transaction(self._number, began, read_ended, Outcome.DONE, (seen,))
            )
            self._note(read_ended, answer, step)
        if len(text) > 6 * LIST_LENGTH:
            await self._replace(self._user.lists, id, is_list=True)

    async def _write(self) -> None:
        """Writes a register, whatever it holds."""
        began = time.monotonic()
        id = self._dice.choice(self._user.registers)
        value = f"value {self._recorder.new_value()}"
        answer = await self.caller.ask(UPDATE, input={"id": id, "title": value})
        version = None
        if answer.outcome is Outcome.DONE:
            task = answer.data["updateTask"]["task"]
            version = task["version"]
            after = ReadRegister(id, task["title"], version)
            self._note(began, answer, Write(id, value, version), after)
        else:
            self._note(began, answer, Write(id, value))
        self._user.writes[id] = self._user.writes.get(id, 0) + 1
        if self._user.writes[id] == REGISTER_WRITES:
            await self._replace(self._user.registers, id, is_list=False)

    async def _read(self) -> None:
        ids = [*self._user.lists, *self._user.registers]
        await self._read_tasks(self._dice.sample(ids, self._dice.randint(1, min(4, len(ids)))))

    async def _read_tasks(self, ids: list[str]) -> bool:
        began = time.monotonic()
        answer = await self.caller.ask(READ, ids=ids)
        if answer.outcome is not Outcome.DONE:
            return False
        found = dict(zip(ids, answer.data["nodes"], strict=True))
        for id in ids:
            if found[id] is None:
                self._miss(id)
        self._note(began, answer, *map(self._step, filter(None, found.values())))
        return True

    async def _create(self) -> None:
        """A creation is repeated until it is acknowledged: with its key, it happens once."""
        row = self._recorder.created.new_row()
        self._recorder.created.settle([row], Fate.EITHER)
        began = time.monotonic()
        values = {"title": str(row), "idempotencyKey": str(row)}
        times = self._dice.choice([1, 2])  # also at once, by two replicas perhaps
        requests = (self.caller.ask_until_done(CREATE, input=values) for _ in range(times))
        answers = await asyncio.gather(*requests)
        self._recorder.created.settle([row], Fate.PRESENT)
        task = answers[0]["createTask"]["task"]
        step = Write(task["id"], task["title"], task["version"])
        self._recorder.note(self._number, began, Outcome.DONE, step)

    async def _transact(self) -> None:
        await self._execute(self._user.target.draw(self._dice, self._recorder.values))

    async def _execute(self, statements: list[Statement]) -> Outcome:
        began = time.monotonic()
        try:
            outcome, steps = await self._user.target.execute(self.caller, statements)
        except LookupError:
            # The first call with the key could open no session for the script and deleted it, after
            # a second call had returned it. Nothing was executed (an open point of decision 64).
            return Outcome.REFUSED
        self._recorder.note(self._number, began, outcome, *steps)
        return outcome

    async def _make_first(self) -> None:
        """The first lists and registers of the user, by one of the clients."""
        self._user.lists += [await self._make_task(is_list=True) for _ in range(LISTS)]
        self._user.registers += [await self._make_task(is_list=False) for _ in range(REGISTERS)]
        self._user.is_ready.set()

    async def _replace(self, tasks: list[str], old: str, *, is_list: bool) -> None:
        if old not in self._user.replaced:  # else another client was faster
            self._user.replaced.add(old)
            tasks[tasks.index(old)] = await self._make_task(is_list=is_list)

    async def _make_task(self, *, is_list: bool) -> str:
        began = time.monotonic()
        title = "list" if is_list else f"value {self._recorder.new_value()}"
        data = await self.caller.ask_until_done(
            CREATE, input={"title": title, "idempotencyKey": str(uuid4())}
        )
        task = data["createTask"]["task"]
        if not is_list:
            step = Write(task["id"], title, task["version"])
            self._recorder.note(self._number, began, Outcome.DONE, step)
        return str(task["id"])

    def _miss(self, id: str) -> None:
        """Everything that a client reads was created, and is not deleted."""
        text = f"{id} for client {self._number} at {time.monotonic():.3f}"
        self._recorder.missing.append(Anomaly("missing object", text))

    def _step(self, task: Any) -> ReadList | ReadRegister:
        """What a read of a task says: the title tells what it is."""
        if task["title"] != "list":
            return ReadRegister(task["id"], task["title"], task["version"])
        return ReadList(task["id"], self._recorder.parse(task["description"] or ""))

    def _note(self, began: float, answer: Answer, *steps: Step) -> None:
        if answer.by is not None and any(isinstance(step, Append | Write) for step in steps):
            self._recorder.wrote[answer.by] = began
        self._recorder.note(self._number, began, answer.outcome, *steps)

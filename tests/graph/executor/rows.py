"""Rows with attributes that fail, determined by a seed."""
# ruff: noqa: S311 - dice, not secrets

import asyncio
import datetime as dt
import decimal
import enum
import random
from collections.abc import Awaitable, Callable
from typing import Any


class Row:
    """A row of any table. ``faults`` is the share of attributes that fail."""

    def __init__(self, seed: str, *, faults: float = 0.0, depth: int = 0) -> None:
        self.seed = seed
        self.faults = faults
        self.depth = depth

    def __repr__(self) -> str:
        return f"Row({self.seed})"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        dice = random.Random(f"{self.seed}.{name}")
        if dice.random() < self.faults:
            return self.go_wrong(name, dice)
        value = self.value_of(name, dice)
        return later(value, dice) if dice.random() < self.faults else value

    def value_of(self, name: str, dice: random.Random) -> Any:
        make = VALUES.get(name)
        if make is None:
            raise AttributeError(f"{self!r} has no {name}")
        return make(self, dice)

    def go_wrong(self, name: str, dice: random.Random) -> Any:
        match dice.randrange(6):
            case 0:
                raise ValueError(f"{name} raised")
            case 1:
                return ValueError(f"{name} returned an error")
            case 2:
                return later(ValueError(f"{name} raised later"), dice)
            case 3:
                return None
            case 4:
                return later(None, dice)
            case _:
                return object

    def child(self, name: str) -> "Row":
        return Row(f"{self.seed}.{name}", faults=self.faults, depth=self.depth + 1)

    def children(self, name: str, dice: random.Random) -> list[Any]:
        count = dice.randrange(4) if self.depth < 4 else 0
        return [self.maybe_child(f"{name}{number}", dice) for number in range(count)]

    def maybe_child(self, name: str, dice: random.Random) -> Any:
        if dice.random() < self.faults / 2:
            return self.go_wrong(name, dice)
        child = self.child(name)
        return later(child, dice) if dice.random() < self.faults / 2 else child

    @property
    def kind(self) -> str:
        return random.Random(self.seed).choice(["Person", "Cat", "Dog"])


def later(value: Any, dice: random.Random) -> Awaitable[Any]:
    """The value as a coroutine; errors are raised."""
    turns = dice.randrange(3)

    async def answer() -> Any:
        for _ in range(turns):
            await asyncio.sleep(0)
        if isinstance(value, Exception):
            raise value
        return value

    return answer()


class Mood(enum.Enum):
    HAPPY = "happy"
    SAD = 2


VALUES: dict[str, Callable[[Row, random.Random], Any]] = {
    "id": lambda row, _: row.seed,
    "name": lambda row, _: f"name of {row.seed}",
    "nickname": lambda _, dice: dice.choice([None, "Nick", 7]),
    "age": lambda _, dice: dice.choice([1, 2**31 - 1, 3.0, True]),
    "height": lambda _, dice: dice.choice([1.5, 2, -0.0]),
    "active": lambda _, dice: dice.choice([True, False, 1]),
    "mood": lambda _, dice: dice.choice(list(Mood)),
    "born": lambda _, dice: dice.choice([dt.date(2000, 1, 2), None]),
    "balance": lambda *_: decimal.Decimal("1.50"),
    "large": lambda *_: 2**63,
    "tags": lambda _, dice: dice.choice([["a", "b"], ("c",), [], [1]]),
    "scores": lambda _, dice: dice.choice([[1, None, 3], [], None, iter([4])]),
    "matrix": lambda _, dice: dice.choice([[[1], [2, 3]], [None, []], [[]]]),
    "owner": lambda row, _: row.child("owner"),
    "boss": lambda row, _: row.child("boss"),
    "best": lambda row, dice: dice.choice([None, row.child("best")]),
    "friends": lambda row, dice: row.children("friend", dice),
    "known": lambda row, dice: row.children("known", dice),
    "pets": lambda row, dice: row.children("pet", dice),
    "nodes": lambda row, dice: row.children("node", dice),
    "home": lambda row, _: row.child("home"),
    "street": lambda *_: "Main Street",
    "lives": lambda *_: 9,
    "loud": lambda *_: True,
    "mother": lambda row, _: row.child("mother"),
    # attributes that resolvers read
    "label": lambda row, _: f"label of {row.seed}",
    "partner": lambda row, dice: dice.choice([None, row.child("partner")]),
    "team": lambda row, dice: row.children("member", dice),
    "secret": lambda *_: "secret",
    "extended": lambda *_: "extended",
    "found": lambda row, dice: row.children("found", dice),
    "echo": lambda *_: "echo",
}


async def ask(row: Row, name: str) -> Any:
    """An attribute read by a resolver, awaited if necessary."""
    value = getattr(row, name)
    return await value if isinstance(value, Awaitable) else value

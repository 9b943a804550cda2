"""The checker accepts what a correct store does, and finds each anomaly that is planted."""

import heapq
import itertools
import random
from collections.abc import Iterator

import pytest

from tests.survival.history.checker import find_anomalies
from tests.survival.history.events import (
    NEVER,
    Append,
    Outcome,
    ReadList,
    ReadRegister,
    Step,
    Transaction,
    Write,
)


def done(*steps: Step, process: int = 0, at: float = 0, lasts: float = 100) -> Transaction:
    """By default all transactions are concurrent, so that real time orders none of them."""
    return Transaction(process, at, at + lasts, Outcome.DONE, steps)


def alone(number: int, transaction: Transaction) -> Transaction:
    return transaction._replace(process=number)


def concurrent(*transactions: Transaction) -> list[Transaction]:
    """Each of a client of its own."""
    return list(itertools.starmap(alone, enumerate(transactions)))


def kinds(history: list[Transaction]) -> set[str]:
    return {anomaly.kind for anomaly in find_anomalies(history)}


WROTE = {number: done(Append("x", number)) for number in range(1, 9)}
READ_12 = done(ReadList("x", (1, 2)))

PLANTED = {
    "lost update": concurrent(
        done(ReadList("x", ()), Append("x", 1)),
        done(ReadList("x", ()), Append("x", 2)),
        done(ReadList("x", (2,))),
    ),
    "lost append": [
        done(Append("x", 1), lasts=1),
        done(Append("x", 2), lasts=1, at=2),
        done(ReadList("x", (2,)), at=4),
    ],
    "duplicated append": concurrent(WROTE[1], done(ReadList("x", (1, 1)))),
    "garbage read": concurrent(WROTE[1], done(ReadList("x", (1, 7)))),
    "aborted read": concurrent(
        WROTE[1]._replace(outcome=Outcome.REFUSED), done(ReadList("x", (1,)))
    ),
    "intermediate read": concurrent(
        done(Append("x", 1), Append("x", 2)), done(ReadList("x", (1,))), READ_12
    ),
    "incompatible order": concurrent(WROTE[1], WROTE[2], READ_12, done(ReadList("x", (2, 1)))),
    "own write not read": [done(Append("x", 1), ReadList("x", ()))],
    "two values of one version": concurrent(done(Write("r", "a", 1)), done(Write("r", "b", 1))),
    "duplicated write": concurrent(
        done(Write("r", "a", 1)), done(ReadRegister("r", "a", 1)), done(ReadRegister("r", "a", 2))
    ),
    # Each of two transactions overwrites the other.
    "G0": concurrent(
        done(Append("x", 1), Append("y", 1)),
        done(Append("x", 2), Append("y", 2)),
        READ_12,
        done(ReadList("y", (2, 1))),
    ),
    # Each of two transactions reads what the other writes.
    "G1c": concurrent(
        done(Append("x", 1), ReadList("y", (1,))), done(Append("y", 1), ReadList("x", (1,)))
    ),
    # A transaction sees one write of another, and misses the other.
    "G-single": concurrent(
        done(Append("x", 1), Append("y", 1)),
        done(ReadList("x", (1,)), ReadList("y", ())),
        done(ReadList("y", (1,))),
    ),
    # Write skew.
    "G2": concurrent(
        done(ReadList("x", ()), Append("y", 1)),
        done(ReadList("y", ()), Append("x", 1)),
        done(ReadList("x", (1,)), ReadList("y", (1,))),
    ),
    # A client does not see what it wrote itself.
    "G-single in a session": [
        done(Append("x", 1)),
        done(ReadList("x", ()), at=1),
        alone(1, done(ReadList("x", (1,)), at=1)),
    ],
    # A client does not see what another wrote before.
    "G-single in real time": concurrent(
        done(Append("x", 1), lasts=1),
        done(ReadList("x", ()), at=2),
        done(ReadList("x", (1,)), at=2),
    ),
    "G0 in real time": concurrent(
        done(Append("x", 2), lasts=1),
        done(Append("x", 1), at=2, lasts=1),
        done(ReadList("x", (1, 2))),
    ),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_checker_finds_planted(kind: str) -> None:
    assert kind in kinds(PLANTED[kind])


def test_checker_finds_stale_register() -> None:
    history = concurrent(
        done(Write("r", "a", 1), lasts=1),
        done(Write("r", "b", 2), at=2, lasts=1),
        done(ReadRegister("r", "a", 1), at=4),
    )
    assert kinds(history) == {"G-single in real time"}


def test_transaction_of_unknown_outcome_may_happen_late_or_never() -> None:
    unknown = Transaction(1, 0, NEVER, Outcome.UNKNOWN, (Append("x", 2),))
    before = [done(Append("x", 1), lasts=1), done(ReadList("x", (1,)), at=5, lasts=1)]
    assert find_anomalies([*before, unknown]) == []
    late = done(ReadList("x", (1, 2)), at=7)
    assert find_anomalies([*before, unknown, late]) == []
    of_same_client = [alone(0, unknown), *before, late]
    assert find_anomalies(of_same_client) == []
    lost_again = [done(ReadList("x", (1, 2)), at=7, lasts=1), done(ReadList("x", (1,)), at=9)]
    assert kinds([*before, unknown, *lost_again]) == {"G-single in a session"}


class Store:
    """Executes transactions one after the other, with a rare flaw or without."""

    def __init__(self, flaw: str, dice: random.Random) -> None:
        self._lists: dict[str, tuple[int, ...]] = {}
        self._old: dict[str, tuple[int, ...]] = {}
        self._flaw = flaw
        self._dice = dice

    def is_flawed(self, flaw: str) -> bool:
        return flaw == self._flaw and self._dice.random() < 0.05

    def append(self, key: str, value: int) -> None:
        seen = self._old if self.is_flawed("overwrites") else self._lists
        values = seen.get(key, ()) + (value,) * (2 if self.is_flawed("repeats") else 1)
        self._old[key] = self._lists.get(key, ())
        if not self.is_flawed("loses"):
            self._lists[key] = values

    def read(self, key: str) -> tuple[int, ...]:
        return (self._old if self.is_flawed("is stale") else self._lists).get(key, ())


def simulate(flaw: str, *, seed: int, count: int, clients: int = 8) -> Iterator[Transaction]:
    """Transactions of several clients that overlap in time, in the order of their execution."""
    dice = random.Random(seed)  # noqa: S311 - dice, not secrets
    store = Store(flaw, dice)
    waiting = [(dice.random(), 0.0, client) for client in range(clients)]
    for number in range(count):
        executed_at, began, client = heapq.heappop(waiting)
        outcome = dice.choices(list(Outcome), [90, 5, 5])[0]
        is_executed = outcome is not Outcome.REFUSED or store.is_flawed("does what it refuses")
        if outcome is Outcome.UNKNOWN:
            is_executed = dice.random() < 0.5
        steps = tuple(_steps(store, number, dice, is_executed=is_executed))
        answered_at = executed_at + dice.random()
        ended = answered_at if outcome is Outcome.DONE else NEVER
        yield Transaction(client, began, ended, outcome, steps)
        began = answered_at + dice.random()
        heapq.heappush(waiting, (began + dice.random(), began, client))


def _steps(store: Store, number: int, dice: random.Random, *, is_executed: bool) -> Iterator[Step]:
    """One to three steps on four lists, which are replaced from time to time."""
    for place in range(dice.randint(1, 3)):
        key = f"{number // 400}-{dice.randrange(4)}"
        if dice.random() < 0.5:
            yield ReadList(key, store.read(key))
        else:
            value = 10 * number + place
            yield Append(key, value)
            if is_executed:
                store.append(key, value)


@pytest.mark.parametrize("seed", range(20))
def test_checker_accepts_every_correct_history(seed: int) -> None:
    assert find_anomalies(list(simulate("", seed=seed, count=500))) == []


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("flaw", "kind"),
    {
        "loses": "lost append",
        "repeats": "duplicated append",
        "overwrites": "lost append",
        "is stale": "G-single",
        "does what it refuses": "aborted read",
    }.items(),
)
def test_checker_finds_rare_flaws_of_a_store(flaw: str, kind: str, seed: int) -> None:
    found = kinds(list(simulate(flaw, seed=seed, count=2_000)))
    assert any(each.startswith(kind) for each in found), found

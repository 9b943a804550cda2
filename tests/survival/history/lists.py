"""The list-append model: a read of a list tells the order of all appends to it so far."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from tests.survival.history.events import Anomaly, Append, History, Outcome, ReadList
from tests.survival.history.orders import KeyOrder, Read

Values = tuple[int, ...]


class _ReadValues(NamedTuple):
    transaction: int
    seen: Values
    """Without the values that the transaction itself had appended."""
    left: Values
    """What was seen, and all values that the transaction appended."""


class _List:
    def __init__(self, key: str) -> None:
        self.key = key
        self.writers: dict[int, int] = {}
        self.reads: list[_ReadValues] = []

    def order(self) -> Values:
        return max((read.left for read in self.reads), key=len, default=())

    def known_order(self) -> KeyOrder:
        """Up to the first value that no client appended."""
        order, writers = self.order(), []
        for value in order:
            if value not in self.writers:
                break
            writers.append(self.writers[value])
        reads = [
            Read(read.transaction, len(read.seen))
            for read in self.reads
            if read.seen == order[: len(read.seen)] and len(read.seen) <= len(writers)
        ]
        return KeyOrder(self.key, writers, reads)

    def anomalies(self, history: History) -> Iterator[Anomaly]:
        order = self.order()
        for value, count in Counter(order).items():
            if count > 1:
                yield Anomaly("duplicated append", f"{self.key} has {value} {count} times")
            if value not in self.writers:
                yield Anomaly("garbage read", f"{self.key} has {value}, which no client appended")
        for read in self.reads:
            if read.seen != order[: len(read.seen)]:
                text = f"{self.key}, which had {_tail(order)}: {history[read.transaction]}"
                yield Anomaly("incompatible order", text)
            elif read.left != order[: len(read.left)]:
                text = f"{self.key} has {_tail(order)} in spite of {history[read.transaction]}"
                yield Anomaly("lost update", text)
        yield from self._lost_appends(history, frozenset(order))

    def _lost_appends(self, history: History, order: frozenset[int]) -> Iterator[Anomaly]:
        """Acknowledged appends that no read has, although one began after them."""
        last = max((history[read.transaction].began for read in self.reads), default=0.0)
        for value, writer in self.writers.items():
            transaction = history[writer]
            is_done = transaction.outcome is Outcome.DONE and transaction.ended < last
            if is_done and value not in order:
                yield Anomaly("lost append", f"{self.key} has no {value} of {transaction}")


def list_orders(history: History) -> tuple[list[KeyOrder], list[Anomaly]]:
    """The order of each list, and what contradicts it."""
    lists: dict[str, _List] = {}
    anomalies: list[Anomaly] = []
    for number, transaction in enumerate(history):
        own: dict[str, list[int]] = defaultdict(list)
        seen: dict[str, Values] = {}
        for step in transaction.steps:
            if isinstance(step, Append):
                of_key = lists.setdefault(step.key, _List(step.key))
                of_key.writers[step.value] = number
                own[step.key].append(step.value)
            elif isinstance(step, ReadList) and transaction.outcome is Outcome.DONE:
                lists.setdefault(step.key, _List(step.key))
                count = len(own[step.key])
                before, mine = step.values[: len(step.values) - count], own[step.key]
                if list(step.values[len(before) :]) != mine or seen.get(step.key, before) != before:
                    anomalies.append(Anomaly("own write not read", str(transaction)))
                seen.setdefault(step.key, before)
        for key, values in seen.items():
            lists[key].reads.append(_ReadValues(number, values, values + tuple(own[key])))
    for each in lists.values():
        anomalies += each.anomalies(history)
    return [each.known_order() for each in lists.values()], anomalies


def _tail(values: Values) -> str:
    return " ".join(map(str, values[-6:]))

"""The order in which the values of each key were written, as far as its reads tell."""

from typing import NamedTuple

from tests.survival.history.events import Anomaly, History, Outcome


class Read(NamedTuple):
    """A transaction that has seen the first `position` versions of a key."""

    transaction: int
    position: int


class KeyOrder(NamedTuple):
    """The transactions that wrote the versions of a key, in order, and those that read it."""

    key: str
    writers: list[int]
    reads: list[Read]


def aborted_reads(history: History, order: KeyOrder) -> list[Anomaly]:
    """Versions of transactions that were refused, and reads between two versions of one."""
    found = [
        Anomaly("aborted read", f"{order.key} has what was refused: {history[writer]}")
        for writer in dict.fromkeys(order.writers)
        if history[writer].outcome is Outcome.REFUSED
    ]
    for reader, position in order.reads:
        around = order.writers[max(position - 1, 0) : position + 1]
        if position and len(around) == 2 and around[0] == around[1] != reader:
            text = f"{history[reader]} read {order.key} in the middle of {history[around[0]]}"
            found.append(Anomaly("intermediate read", text))
    return found

"""Dependencies between transactions, and the cycles in them.

Edges are those of Adya: ww, from the writer of a version to that of the next; wr, from the writer
of a version to its reader; rw, from a reader to the writer of the next version. `process` leads to
the next transaction of a client, `time` to those that began after one had been acknowledged. No
order of the transactions explains a cycle.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import pairwise
from typing import NamedTuple

from tests.survival.history.events import Anomaly, History, Outcome
from tests.survival.history.orders import KeyOrder

Edges = list[list[tuple[int, str]]]
"""The successors of each node with the kind of the edge."""

MAX_SEARCHES = 1_000
"""Searches for a cycle with one rw edge in a component. A large component has many such cycles."""


class Level(NamedTuple):
    name: str
    kinds: frozenset[str]
    has_one_rw: bool = False


_ORDERS = (("", ()), (" in a session", ("process",)), (" in real time", ("process", "time")))
LEVELS = tuple(
    Level(name + suffix, frozenset((*kinds, *orders)), has_one_rw)
    for suffix, orders in _ORDERS
    for name, kinds, has_one_rw in (
        ("G0", ("ww",), False),
        ("G1c", ("ww", "wr"), False),
        ("G-single", ("ww", "wr"), True),
        ("G2", ("ww", "wr", "rw"), False),
    )
)
"""From the worst to the most harmless kind of cycle."""


def dependencies(history: History, orders: Iterable[KeyOrder]) -> Edges:
    """Nodes after those of the transactions are moments in time."""
    edges: Edges = [[] for _ in history]
    for order in orders:
        _depend(edges, order)
    _follow_processes(history, edges)
    _follow_time(history, edges)
    return edges


def _depend(edges: Edges, order: KeyOrder) -> None:
    writers = order.writers
    for before, after in pairwise(writers):
        if before != after:
            edges[before].append((after, "ww"))
    for reader, position in order.reads:
        if position and writers[position - 1] != reader:
            edges[writers[position - 1]].append((reader, "wr"))
        if position < len(writers) and writers[position] != reader:
            edges[reader].append((writers[position], "rw"))


def _follow_processes(history: History, edges: Edges) -> None:
    last: dict[int, int] = {}
    for number in sorted(range(len(history)), key=lambda number: history[number].began):
        process = history[number].process
        if process in last:
            edges[last[process]].append((number, "process"))
        if history[number].outcome is Outcome.DONE:  # else it may still happen, or never does
            last[process] = number


def _follow_time(history: History, edges: Edges) -> None:
    """A chain of the moments at which transactions were acknowledged."""
    done = [n for n, transaction in enumerate(history) if transaction.outcome is Outcome.DONE]
    done.sort(key=lambda number: history[number].ended)
    moments = [history[number].ended for number in done]
    first = len(history)
    for position, number in enumerate(done):
        edges[number].append((first + position, "time"))
        edges.append([(first + position + 1, "time")] if position + 1 < len(done) else [])
    for number, transaction in enumerate(history):
        if position := bisect_left(moments, transaction.began):
            edges[first + position - 1].append((number, "time"))


def cycle_anomalies(history: History, edges: Edges) -> list[Anomaly]:
    """One cycle of the worst kind of each strongly connected component."""
    return [
        _describe(history, *_worst_cycle(edges, component))
        for component in components(edges, range(len(edges)), LEVELS[-1].kinds)
    ]


def _worst_cycle(edges: Edges, component: AbstractSet[int]) -> tuple[str, list[tuple[int, str]]]:
    for level in LEVELS:
        if cycle := _cycle(edges, component, level):
            return level.name, cycle
    raise AssertionError("a component has a cycle")


def _cycle(edges: Edges, component: AbstractSet[int], level: Level) -> list[tuple[int, str]] | None:
    if not level.has_one_rw:
        for smaller in components(edges, component, level.kinds):
            node = min(smaller)
            for after, kind in edges[node]:
                if kind in level.kinds and after in smaller:
                    path = _path(edges, after, node, smaller, level.kinds)
                    if path is not None:
                        return [(node, kind), *path]
        return None
    anti = ((a, b) for a in sorted(component) for b, kind in edges[a] if kind == "rw")
    for _, (reader, writer) in zip(range(MAX_SEARCHES), anti, strict=False):
        if writer in component:
            path = _path(edges, writer, reader, component, level.kinds)
            if path is not None:
                return [(reader, "rw"), *path]
    return None


def _path(
    edges: Edges, start: int, end: int, within: AbstractSet[int], kinds: AbstractSet[str]
) -> list[tuple[int, str]] | None:
    """The shortest path, as nodes with the kind of the edge that leaves them."""
    came: dict[int, tuple[int, str]] = {}
    waiting = deque([start])
    while waiting:
        node = waiting.popleft()
        if node == end:
            return list(_steps(came, start, end))[::-1]
        for after, kind in edges[node]:
            if kind in kinds and after in within and after not in came and after != start:
                came[after] = node, kind
                waiting.append(after)
    return None


def _steps(came: dict[int, tuple[int, str]], start: int, end: int) -> Iterator[tuple[int, str]]:
    node = end
    while node != start:
        before, kind = came[node]
        yield before, kind
        node = before


def components(
    edges: Edges, nodes: Iterable[int], kinds: AbstractSet[str]
) -> Iterator[AbstractSet[int]]:
    """The strongly connected components with more than one node, by Tarjan's algorithm."""
    allowed = nodes if isinstance(nodes, range) else set(nodes)
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    for root in allowed:
        if root in index:
            continue
        work = [(root, 0)]
        while work:
            node, at = work.pop()
            if at == 0:
                index[node] = low[node] = len(index)
                stack.append(node)
                on_stack.add(node)
            following = edges[node]
            while at < len(following):
                after, kind = following[at]
                at += 1
                if kind not in kinds or after not in allowed:
                    continue
                if after not in index:
                    work += [(node, at), (after, 0)]
                    break
                if after in on_stack:
                    low[node] = min(low[node], index[after])
            else:
                if low[node] == index[node]:
                    found = _pop_until(stack, node)
                    on_stack -= found
                    if len(found) > 1:
                        yield found
                if work:
                    parent = work[-1][0]
                    low[parent] = min(low[parent], low[node])


def _pop_until(stack: list[int], node: int) -> set[int]:
    found = set()
    while node not in found:
        found.add(stack.pop())
    return found


def _describe(history: History, name: str, cycle: Sequence[tuple[int, str]]) -> Anomaly:
    words = []
    for node, kind in cycle:
        if node < len(history):  # else a moment in time
            words.append(f"{history[node]} -{kind}->")
    return Anomaly(name, " ".join((*words, "the first")))

"""The time that each node of an executed plan took itself, without the nodes below it.

PostgreSQL reports for each node an average over its loops that includes the nodes below it. The
times of a plan are made to add up to the time of its root:

- A node below Gather loops once in each process. Its time is the average of the processes, because
  they work at the same time.
- The time of a CTE and of an InitPlan is contained in that of the nodes which read its rows or its
  value, not in that of the node to which it is attached, so it is subtracted from those.
- A node whose children together took longer than itself took no time of its own, and theirs is
  scaled down: the averages are rounded to a microsecond, and asynchronous scans overlap.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from db.workbench.plans.numbers import number

_PARALLEL = ("Gather", "Gather Merge")
_CTE = "CTE "
_INIT_PLAN = re.compile(r"InitPlan (\d+)(?: \(returns ([^)]*)\))?")
_REFERENCE = re.compile(r"InitPlan \d+|\$\d+")


class TimedNode(Protocol):
    """A node in preorder: its parent comes before it."""

    @property
    def parent(self) -> int | None: ...

    @property
    def properties(self) -> dict[str, Any]: ...


def own_times(nodes: Sequence[TimedNode]) -> list[float | None]:
    """Milliseconds of each node. None for all of them if the statement was not executed."""
    if not any(_number(node, "Actual Total Time") for node in nodes):
        executed = any("Actual Total Time" in node.properties for node in nodes)
        return [0.0 if executed else None for _ in nodes]
    return [*_Times(nodes).own]


class _Times:
    def __init__(self, nodes: Sequence[TimedNode]) -> None:
        self._nodes = nodes
        self._ends = _subtree_ends(nodes)
        self._attached = [
            node.properties.get("Parent Relationship") == "InitPlan" for node in nodes
        ]
        self._scans = self._find_scans()
        self._references = self._find_references()
        """Each is used once: no two InitPlans of a plan have the same name."""
        self._included = self._included_times()
        self.own = self._own_times()
        total = self._included[0]
        for index, is_attached in enumerate(self._attached):
            left = self._charge_readers(index) if is_attached else 0.0
            total += left if self._changes_data(index) else 0.0
        counted = sum(self.own)
        self.own = [max(0.0, ms * total / counted) if counted else 0.0 for ms in self.own]

    def _included_times(self) -> list[float]:
        """The time of each node with those below it, as an average over the parallel processes."""
        processes: list[float] = []
        found = []
        for node in self._nodes:
            count = 1.0 if node.parent is None else processes[node.parent]
            loops = _number(node, "Actual Loops")
            if node.parent is not None and self._starts_processes(node):
                count *= max(
                    1.0, loops / max(1.0, _number(self._nodes[node.parent], "Actual Loops"))
                )
            processes.append(count)
            found.append(_number(node, "Actual Total Time") * loops / count)
        return found

    def _starts_processes(self, node: TimedNode) -> bool:
        assert node.parent is not None  # noqa: S101 - checked by the caller
        is_parallel = self._nodes[node.parent].properties.get("Node Type") in _PARALLEL
        return is_parallel and node.properties.get("Parent Relationship") == "Outer"

    def _own_times(self) -> list[float]:
        """The time of each node without its children, which never exceed it together."""
        children = [0.0] * len(self._nodes)
        for index, parent in self._regular():
            children[parent] += self._included[index]
        fitted = list(self._included)
        for index, parent in self._regular():
            most = max(children[parent], self._included[parent])
            fitted[index] *= fitted[parent] / most if most else 0.0
        own = list(fitted)
        for index, parent in self._regular():
            own[parent] -= fitted[index]
        return own

    def _regular(self) -> Iterator[tuple[int, int]]:
        """The nodes whose time is contained in that of their parent, with it; parents first."""
        for index, node in enumerate(self._nodes):
            if node.parent is not None and not self._attached[index]:
                yield index, node.parent

    def _charge_readers(self, index: int) -> float:
        """Subtracts the time of a CTE or InitPlan from its readers, and returns what is left.

        The first one to read it has waited for all of it. That is the slowest, unless one in
        another InitPlan is as slow: the time of that one is contained in that of its own reader.
        The node to which it is attached ends its parallel workers.
        """
        left = whole = self._included[index]
        home = self._attached_root(self._nodes[index].parent)

        def order(reader: int) -> tuple[bool, float]:
            is_inner = self._attached_root(reader) != home and self.own[reader] >= whole
            return not is_inner, -self.own[reader]

        readers = sorted(self._readers(index), key=order)
        if not self._changes_data(index):
            readers.append(self._nodes[index].parent or 0)
        for reader in readers:
            paid = min(left, max(0.0, self.own[reader]))
            self.own[reader] -= paid
            left -= paid
        return left

    def _changes_data(self, index: int) -> bool:
        """Whether a CTE is executed to its end after the root has ended."""
        return self._nodes[index].properties.get("Node Type") == "ModifyTable"

    def _attached_root(self, index: int | None) -> int | None:
        """The root of the CTE or InitPlan that a node is part of."""
        while index is not None and not self._attached[index]:
            index = self._nodes[index].parent
        return index

    def _readers(self, index: int) -> list[int]:
        """The nodes whose time contains that of a CTE or InitPlan."""
        node = self._nodes[index]
        parent, name = node.parent or 0, str(node.properties.get("Subplan Name", ""))
        if name.startswith(_CTE):
            return self._scans.get(index, [])
        named = {each for known in _names_of(name) for each in self._references.pop(known, ())}
        within, below = range(parent, self._ends[parent]), range(index, self._ends[index])
        return [each for each in sorted(named) if each in within and each not in below] or [parent]

    def _find_scans(self) -> dict[int, list[int]]:
        """The scans of each CTE: a name means the definition at the nearest node above."""
        definitions = {
            (node.parent, str(node.properties.get("Subplan Name"))): index
            for index, node in enumerate(self._nodes)
            if self._attached[index]
        }
        found: dict[int, list[int]] = {}
        for index, node in enumerate(self._nodes):
            if node.properties.get("Node Type") != "CTE Scan":
                continue
            name, at = f"{_CTE}{node.properties.get('CTE Name')}", index
            while (defined := definitions.get((at, name))) is None:
                above = self._nodes[at].parent
                if above is None:
                    break
                at = above
            if defined is not None:
                found.setdefault(defined, []).append(index)
        return found

    def _find_references(self) -> dict[str, list[int]]:
        """The nodes whose expressions name a result of an InitPlan."""
        found: dict[str, list[int]] = {}
        if not any(self._attached):
            return found
        for index, node in enumerate(self._nodes):
            for name in _references_of(node.properties):
                found.setdefault(name, []).append(index)
        return found


def _references_of(properties: dict[str, Any]) -> set[str]:
    found = set[str]()
    for key, value in properties.items():
        if key in {"Subplan Name", "Plans"}:
            continue
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str):
                found.update(_REFERENCE.findall(text))
    return found


def _names_of(subplan: str) -> set[str]:
    """How expressions name an InitPlan: by its number from PostgreSQL 17, before by its results."""
    found = _INIT_PLAN.match(subplan)
    if found is None:
        return {subplan}
    results = [] if found.group(2) is None else re.split(r"[,\s]+", found.group(2))
    return {f"InitPlan {found.group(1)}", *results}


def _subtree_ends(nodes: Sequence[TimedNode]) -> list[int]:
    """The index after the last node below each node."""
    ends = list(range(1, len(nodes) + 1))
    for index in range(len(nodes) - 1, 0, -1):
        parent = nodes[index].parent
        if parent is not None:
            ends[parent] = max(ends[parent], ends[index])
    return ends


def _number(node: TimedNode, key: str) -> float:
    return number(node.properties, key) or 0.0

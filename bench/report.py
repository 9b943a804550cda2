"""The report: requests per second, the ratios, and the missed goals."""

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import NamedTuple, TypeAlias

from bench.cases import Case
from bench.clients import Measured
from bench.peers import POSTGRAPHILE
from db.version import __version__

P99_GOAL_MS = 100.0
COLUMNS = ("req/s", "p50 ms", "p99 ms", "CPU ms")

Runs: TypeAlias = Mapping[str, Sequence[Measured]]
"""Runs by peer name; those with the same index were measured one after the other."""


class Result(NamedTuple):
    """All runs of one case."""

    case: Case
    runs: Runs

    def medians(self, peer: str) -> Measured:
        return Measured(*map(statistics.median, zip(*self.runs[peer], strict=True)))

    def ratio(self, peer: str) -> float:
        """Requests per second of Howdah relative to another server: the median of the rounds."""
        pairs = zip(self.runs["Howdah"], self.runs[peer], strict=True)
        return statistics.median(ours.per_s / theirs.per_s for ours, theirs in pairs)

    def missed(self) -> list[str]:
        """Descriptions of the missed goals."""
        goals = {"limit": self.case.goals.limit, "PostGraphile": self.case.goals.postgraphile}
        found = [
            f"{self.case.name}: {ratio:.2f} of {peer}, goal {goals[peer]}"
            for peer in goals.keys() & self.runs.keys()
            if (ratio := self.ratio(peer)) < goals[peer]
        ]
        if self.case.small:
            p99 = self.medians("Howdah").p99_ms
            if p99 >= self._p99_goal():
                found.append(f"{self.case.name}: p99 {p99:.0f} ms, goal {self._p99_goal():.0f}")
        return found

    def _p99_goal(self) -> float:
        if "PostGraphile" not in self.runs:
            return P99_GOAL_MS
        return min(P99_GOAL_MS, self.medians("PostGraphile").p50_ms)


def markdown(results: Sequence[Result], *, postgres: str, seconds: float) -> str:
    """The whole report, as it is printed and saved."""
    rounds = len(results[0].runs["Howdah"])
    missed = [goal for result in results for goal in result.missed()]
    return "\n".join(
        (
            f"# Howdah {__version__}: {rounds} interleaved rounds of {seconds} s",
            "",
            *(
                f"- {line}"
                for line in _machine(postgres, with_node="PostGraphile" in results[0].runs)
            ),
            "",
            *_ratios(results),
            "",
            *_medians(results),
            "",
            "## Goals missed" if missed else "All goals met.",
            "",
            *(f"- {goal}" for goal in missed),
        )
    )


def _machine(postgres: str, *, with_node: bool) -> list[str]:
    libraries = ("uvicorn", "uvloop", "asyncpg", "strawberry-graphql", "graphql-core", "msgspec")
    theirs = json.loads((POSTGRAPHILE / "package.json").read_text())["dependencies"]
    load = os.getloadavg()[0]
    lines = [
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, load {load:.1f}",
        f"Python {platform.python_version()}, PostgreSQL {postgres} (synchronous_commit off)",
        ", ".join(f"{name} {version(name)}" for name in libraries),
    ]
    if with_node:
        lines.append(", ".join(f"{name} {theirs[name]}" for name in theirs))
    return lines


def _ratios(results: Sequence[Result]) -> list[str]:
    """The ratio to each other server, and its goal."""
    others = [peer for peer in results[0].runs if peer != "Howdah"]
    heads = [words for peer in others for words in (f"of {peer}", "goal")]
    lines = _heading("case", "c", *heads)
    for result in results:
        goals = {"limit": result.case.goals.limit, "PostGraphile": result.case.goals.postgraphile}
        cells = [
            text for peer in others for text in (f"{result.ratio(peer):.2f}", f"{goals[peer]}")
        ]
        lines.append(_row(result.case.name, str(result.case.connections), *cells))
    return lines


def _medians(results: Sequence[Result]) -> list[str]:
    """Medians of each server; CPU is per request."""
    lines = _heading("case", "server", *COLUMNS)
    for result in results:
        for peer in result.runs:
            per_s, *times_ms = result.medians(peer)
            cells = (f"{per_s:,.0f}", *(f"{time_ms:.2f}" for time_ms in times_ms))
            lines.append(_row(result.case.name, peer, *cells))
    return lines


def _heading(*cells: str) -> list[str]:
    return [_row(*cells), _row("---", "---", *("---:" for _ in cells[2:]))]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"

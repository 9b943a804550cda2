"""The figures that benchmarks measured, as files that are committed: bench/figures/*.json."""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from bench import peers
from bench.cases import Case
from bench.clients import Measured
from bench.peers import Peer
from bench.rounds import Runs, medians, ratio

FOLDER = Path(__file__).with_name("figures")
LIBRARIES = (
    *("uvicorn", "uvloop", "asyncpg", "sqlalchemy", "strawberry-graphql", "graphql-core"),
    "msgspec",
)

F = TypeVar("F", bound=msgspec.Struct)


class Result(msgspec.Struct, frozen=True):
    """One case: the medians of each server, and Howdah's rate relative to each other one."""

    name: str
    connections: int
    small: bool
    goals: Mapping[str, float]
    medians: Mapping[str, Measured]
    ratios: Mapping[str, float]

    @classmethod
    def of(cls, case: Case, runs: Runs) -> "Result":
        ours = runs[peers.HOWDAH]
        return cls(
            case.name,
            case.connections,
            case.small,
            {peers.LIMIT: case.goals.limit, peers.POSTGRAPHILE: case.goals.postgraphile},
            {name: medians(of) for name, of in runs.items()},
            {name: ratio(ours, of) for name, of in runs.items() if name != peers.HOWDAH},
        )

    @property
    def missed(self) -> list[str]:
        """Descriptions of the missed goals."""
        found = [
            f"{self.ratios[peer]:.2f} of {peer}, goal {goal:g}"
            for peer, goal in self.goals.items()
            if peer in self.ratios and round(self.ratios[peer], 2) < goal
        ]
        if self.small and peers.POSTGRAPHILE in self.medians:
            ours, theirs = (
                self.medians[name].p99_ms for name in (peers.HOWDAH, peers.POSTGRAPHILE)
            )
            if ours >= theirs:
                found.append(f"p99 {ours:.1f} ms, not below the {theirs:.1f} of PostGraphile")
        return found


class Bench(msgspec.Struct, frozen=True):
    """`make bench`."""

    machine: Sequence[str]
    rounds: int
    seconds: float
    near: Sequence[Result]
    far_ms: float
    far: Sequence[Result]
    """With the database so far away."""

    @property
    def missed(self) -> list[str]:
        return [f"{result.name}: {goal}" for result in self.near for goal in result.missed]


class Ablation(msgspec.Struct, frozen=True):
    """`make bench-ablation`."""

    machine: Sequence[str]
    rounds: int
    seconds: float
    cases: Sequence[tuple[str, int]]
    """Name and number of clients."""
    whole: Sequence[Measured]
    """With all parts, by case."""
    without: Mapping[str, Sequence[Measured]]
    """Without one part, by case."""
    ratios: Mapping[str, Sequence[float]]
    """The rate without a part relative to that with all, in the same round; by case."""


class Growth(msgspec.Struct, frozen=True):
    """`make bench-growth`: medians of each server by what grows."""

    machine: Sequence[str]
    rounds: int
    seconds: float
    clients: Mapping[str, Mapping[int, Measured]]
    rows: Mapping[str, Mapping[int, Measured]]
    fields: Mapping[str, Mapping[int, Measured]]


class Spread(NamedTuple):
    """Of several runs."""

    median: float
    best: float
    worst: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))


FIRST_ANSWER_GOAL_S = 0.8
IDLE_GOAL_MB = 85


class Start(msgspec.Struct, frozen=True):
    """`make bench-start`."""

    machine: Sequence[str]
    runs: int
    first_answer_s: Spread
    cpu_s: Spread
    """CPU time of the server until the first answer; hardly depends on other load."""
    idle_mb: Spread

    @property
    def missed(self) -> bool:
        return (
            self.first_answer_s.median >= FIRST_ANSWER_GOAL_S or self.idle_mb.median >= IDLE_GOAL_MB
        )


def write(name: str, found: msgspec.Struct) -> None:
    FOLDER.mkdir(exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(rounded(found)), indent=1)
    (FOLDER / f"{name}.json").write_bytes(text + b"\n")


def read(name: str, kind: type[F]) -> F:
    return msgspec.json.decode((FOLDER / f"{name}.json").read_bytes(), type=kind)


def rounded(value: object) -> object:
    """Four digits are more than two runs have in common."""
    built = msgspec.to_builtins(value)

    def shorten(inner: object) -> object:
        if isinstance(inner, float):
            return float(f"{inner:.4g}")
        if isinstance(inner, dict):
            return {key: shorten(each) for key, each in inner.items()}
        if isinstance(inner, list | tuple):
            return [shorten(each) for each in inner]
        return inner

    return shorten(built)


def machine(postgres: str, started: Sequence[Peer]) -> list[str]:
    """The lines of a page that say on what was measured."""
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    database = f"PostgreSQL {postgres} on the same machine (`synchronous_commit` off)"
    lines = [
        f"{time.strftime('%B %Y')}; {system}; Python {platform.python_version()}; {database}",
        ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
    ]
    if any(peer.name == peers.POSTGRAPHILE for peer in started):
        package = json.loads((peers.PACKAGE / "package.json").read_text())
        node = next(iter(package["optionalDependencies"].values()))
        theirs = ", ".join(f"{name} {of}" for name, of in package["dependencies"].items())
        lines.append(f"Node {node}, {theirs}")
    return lines


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that all benchmarks with figures have."""
    made = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    made.add_argument("--quick", action="store_true", help="small, and writes no pages")
    made.add_argument("--only", default="", help="cases with this in their names; no pages")
    return made

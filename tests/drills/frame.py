"""What a drill is: a fault, the promises for it, and the figure that was measured for each.

A drill is a module beside this one with a docstring, whose first line names it, and

    async def drill(plan: Plan) -> list[Figure]: ...

`make drills` and tests/drills/test_drills.py find it by itself. Servers run as processes of their
own (`tests.fixtures.served`): within pytest, Howdah's own time limits are patched in this process.
A drill that needs a program asks `tests.fixtures.brokers.program` for it, and is skipped without.
"""

import importlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import NamedTuple, TypeAlias

from db.postgres.embedded.server import EmbeddedPostgres
from tests.fixtures.cluster import open_fast
from tests.fixtures.served import Served, new_keys, served
from tests.fixtures.targets import Target, running_target

HERE = Path(__file__).parent


class Plan(NamedTuple):
    """`folder` is empty, and removed afterwards. The same `seed` makes the same choices."""

    folder: Path
    seed: int = 1
    is_quick: bool = False


class Stage(NamedTuple):
    """What the servers of a drill share: their keys, Howdah's own database, and a user's one."""

    plan: Plan
    keys: dict[str, str]
    own: EmbeddedPostgres
    target: Target

    def environment(self, database_url: str) -> dict[str, str]:
        return {
            "HOWDAH_ENV": "development",
            "HOWDAH_DATABASE_URL": database_url,
            **self.keys,
        }

    def served(self, name: str, database_url: str) -> AbstractAsyncContextManager[Served]:
        return served(self.plan.folder / name, **self.environment(database_url))


@asynccontextmanager
async def opened_stage(plan: Plan) -> AsyncIterator[Stage]:
    # Outside of the folder of the plan: under root, the account of PostgreSQL may not enter it.
    with tempfile.TemporaryDirectory(prefix="howdah-target-") as folder:
        async with (
            await open_fast(plan.folder / "postgres") as own,
            running_target(Path(folder)) as target,
        ):
            yield Stage(plan, new_keys(), own, target)


class Figure(NamedTuple):
    """A figure, which may be at most what is promised. One without a unit is a count of failures.

    The quick form of a drill, which CI runs, judges the counts only: a time says nothing there.
    """

    name: str
    promise: float
    measured: float
    unit: str = ""

    @property
    def is_kept(self) -> bool:
        return self.measured <= self.promise

    def is_broken(self, *, is_quick: bool) -> bool:
        return not self.is_kept and not (is_quick and self.unit)

    def __str__(self) -> str:
        line = (
            f"{self.name:58}{self.promise:10.1f} {self.unit:3}{self.measured:10.1f} {self.unit:3}"
        )
        return line.rstrip() + ("" if self.is_kept else "   MISSED")


HEADER = f"{'':58}{'promise':>11}{'measured':>14}"
Drill: TypeAlias = Callable[[Plan], Awaitable[list[Figure]]]


class FoundDrill(NamedTuple):
    name: str
    title: str
    run: Drill


def find_drills() -> list[FoundDrill]:
    """The drills of all modules in this folder, by name."""
    found = []
    for path in sorted(HERE.glob("*.py")):
        if path.stem.startswith(("test_", "__")):
            continue
        module = importlib.import_module(f"tests.drills.{path.stem}")
        if run := getattr(module, "drill", None):
            found.append(FoundDrill(path.stem, (module.__doc__ or "").splitlines()[0], run))
    return found


def broken_promises(figures: list[Figure], *, is_quick: bool) -> list[str]:
    return [figure.name.strip() for figure in figures if figure.is_broken(is_quick=is_quick)]

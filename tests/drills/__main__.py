"""Drills on served replicas: what is promised when things fail, and what was measured.

make drills                              all, in their long form; let nothing else run meanwhile
make drills ARGS="--quick"               small; times are shown, and not judged
make drills ARGS="--only history"        one of them; --list names them
make drills ARGS="--only history --seed 7"   repeats the choices of another run
"""

import argparse
import secrets
import sys
import tempfile
import time
from pathlib import Path

import pytest
import uvloop

from tests.drills.frame import HEADER, FoundDrill, Plan, broken_promises, find_drills


async def run(drills: list[FoundDrill], *, seed: int, is_quick: bool) -> list[str]:
    """Returns the promises that were broken."""
    print(f"seed {seed}")  # noqa: T201
    broken = []
    for drill in drills:
        print(f"\n{drill.name}: {drill.title}", flush=True)  # noqa: T201
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"howdah-drill-{drill.name}-") as folder:
            try:
                figures = await drill.run(Plan(Path(folder), seed, is_quick))
            except pytest.skip.Exception as reason:
                print(f"skipped: {reason}")  # noqa: T201
                continue
        print(HEADER, *figures, sep="\n")  # noqa: T201
        print(f"({time.monotonic() - began:.0f} s)", flush=True)  # noqa: T201
        broken += broken_promises(figures, is_quick=is_quick)
    print(f"\nbroken: {', '.join(broken)}" if broken else "\nall promises are kept")  # noqa: T201
    return broken


def main() -> None:
    found = {drill.name: drill for drill in find_drills()}
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small; times are not judged")
    parser.add_argument("--only", nargs="+", choices=found, default=list(found), metavar="NAME")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--list", action="store_true", help="name the drills")
    arguments = parser.parse_args()
    if arguments.list:
        print(*(f"{drill.name:12}{drill.title}" for drill in found.values()), sep="\n")  # noqa: T201
        return
    chosen = [found[name] for name in arguments.only]
    broken = uvloop.run(run(chosen, seed=arguments.seed, is_quick=arguments.quick))
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()

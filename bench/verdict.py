"""Command-line entry of a benchmark, and its exit code."""

import argparse
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import uvloop

S = TypeVar("S")


def judge(words: str | None, bench: Callable[[S], Awaitable[list[str]]], full: S, quick: S) -> None:
    """Exits with 1 when a goal was missed; `--quick` is a smoke test without a verdict."""
    parser = argparse.ArgumentParser(description=(words or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small, without a verdict")
    is_quick: bool = parser.parse_args().quick

    async def run() -> list[str]:
        return await bench(quick if is_quick else full)

    missed = uvloop.run(run())
    sys.exit(1 if missed and not is_quick else 0)

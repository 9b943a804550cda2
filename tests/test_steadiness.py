"""No test depends on the speed of the machine; CONTRIBUTING.md has the rules."""

import ast
from pathlib import Path

import pytest

from tests.fixtures.patience import PATIENCE_S

HERE = Path(__file__).parent
MEASURING = (HERE / "security" / "attacks", HERE / "survival" / "soak", HERE / "drills")
"""Programs that measure on purpose; no test runs them against a limit in time."""
TESTS = [
    path
    for path in sorted(HERE.rglob("*.py"))
    if "node_modules" not in path.parts and not any(map(path.is_relative_to, MEASURING))
]
CLOCKS = {"monotonic", "perf_counter"}


def hasty_lines(text: str) -> list[str]:
    """The short limits, and the assertions about measured times, of a module of tests."""
    found = []
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Call(func=ast.Attribute(attr="timeout"), args=[ast.Constant(value=limit)]) | (
                ast.Call(func=ast.Attribute(attr="wait_for"), args=[_, ast.Constant(value=limit)])
            ) if isinstance(limit, int | float) and limit < PATIENCE_S:
                found.append(f"line {node.lineno}: a limit of {limit} s, use patience()")
            case ast.Call(func=ast.Attribute(attr="AsyncClient"), keywords=given) if not (
                {"timeout", "transport"} & {each.arg for each in given}
            ):
                found.append(f"line {node.lineno}: the client waits 5 s, use timeout=PATIENCE_S")
            case ast.Assert() if CLOCKS & {
                each.func.attr
                for each in ast.walk(node)
                if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute)
            }:
                found.append(f"line {node.lineno}: asserts a measured time")
    return found


def test_tests_measure_no_time() -> None:
    found = {str(path): hasty_lines(path.read_text("utf-8")) for path in TESTS}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "planted",
    [
        "async with asyncio.timeout(10):\n    pass",
        "asyncio.wait_for(event.wait(), 0.5)",
        "httpx.AsyncClient()",
        "httpx.AsyncClient(base_url=url)",
        "assert time.monotonic() - began < 2",
    ],
)
def test_planted_measured_time_is_caught(planted: str) -> None:
    if planted.startswith("async with"):
        planted = "async def test():\n    " + planted.replace("\n", "\n    ")
    assert len(hasty_lines(planted)) == 1


def test_patient_waits_are_allowed() -> None:
    patient = "async with patience():\n    await wait()\nhttpx.AsyncClient(timeout=PATIENCE_S)"
    assert hasty_lines("async def test():\n    " + patient.replace("\n", "\n    ")) == []

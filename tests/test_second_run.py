"""`.ci/test` runs a few failed tests again in CI, and never hides any other failure."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / ".ci" / "test"
PASSES_ALONE = """
from pathlib import Path
def test_{name}():
    mark = Path(__file__).with_name("{name}.ran")
    ran = mark.exists()
    mark.touch()
    assert ran
"""
FAILS = "def test_{name}(): assert False\n"
PASSES = "def test_{name}(): pass\n"
CRASHES = "import os\ndef test_{name}(): os._exit(3)\n"


def outcome(folder: Path, *tests: str, ci: bool = True) -> tuple[int, str]:
    (folder / ".ci").mkdir()
    shutil.copy(SCRIPT, folder / ".ci")
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    for number, test in enumerate(tests):
        (folder / f"test_{number}.py").write_text(test.format(name=f"t{number}"))
    (folder / "pytest.ini").write_text("[pytest]\n")
    environment = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    ended = subprocess.run(  # noqa: S603 - the script of this checkout
        ["bash", folder / ".ci" / "test", "0", "-q"],  # noqa: S607
        env=environment | {"CI": "true" if ci else ""},
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


def test_second_run_names_tests_that_passed_alone(tmp_path: Path) -> None:
    code, shown = outcome(tmp_path, PASSES, PASSES_ALONE, PASSES_ALONE)
    assert code == 0, shown
    named = shown.partition("UNSTEADY")[2]
    assert "test_1.py::test_t1" in named
    assert "test_2.py::test_t2" in named
    assert "test_0.py" not in named


@pytest.mark.parametrize(
    "tests",
    [
        [FAILS],
        [PASSES_ALONE, FAILS],
        [PASSES_ALONE] * 4,
        [PASSES_ALONE, "import no_such_module\n"],
        [PASSES_ALONE, CRASHES],
    ],
    ids=["fails twice", "one fails twice", "many", "not collected", "crash"],
)
def test_second_run_hides_no_other_failure(tmp_path: Path, tests: list[str]) -> None:
    code, shown = outcome(tmp_path, *tests)
    assert code != 0, shown
    assert "UNSTEADY" not in shown


def test_second_run_is_for_ci_only(tmp_path: Path) -> None:
    code, shown = outcome(tmp_path, PASSES_ALONE, ci=False)
    assert code == 1, shown
    assert "once more" not in shown

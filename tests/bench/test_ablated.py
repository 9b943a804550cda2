"""Each part that `make bench-ablation` switches off is still where it replaces it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.ablated import EVERYTHING, replace

ROOT = Path(__file__).parents[2]
URL = "postgresql://ann@127.0.0.1:1/nothing"


def test_ablation_finds_every_part() -> None:
    """In a process of its own, which it leaves without these parts."""
    script = f"from bench.ablated import ablate; ablate({EVERYTHING!r}); print('ablated')"
    ended = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=os.environ | {"HOWDAH_DATABASE_URL": URL},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout == "ablated\n", ended.stderr


def test_ablation_refuses_a_part_that_is_gone() -> None:
    with pytest.raises(SystemExit, match="Path has no gone"):
        replace(Path, gone=None)

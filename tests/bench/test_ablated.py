"""Each part that `make bench-ablation` switches off is still where it replaces it."""

import asyncio
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from bench import peers
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


async def test_server_without_all_of_them_answers(committed_url: str, tmp_path: Path) -> None:
    """What replaces them fits what is left."""

    def ask() -> Any:
        with peers.ours(committed_url, tmp_path, without=EVERYTHING) as peer:
            body = json.dumps({"query": "{ health { status } }"}).encode()
            request = urllib.request.Request(  # noqa: S310 - our own server
                peer.url, body, {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - as above
                return json.load(response)

    assert await asyncio.to_thread(ask) == {"data": {"health": {"status": "OK"}}}


def test_ablation_refuses_a_part_that_is_gone() -> None:
    with pytest.raises(SystemExit, match="Path has no gone"):
        replace(Path, gone=None)

"""Lets a server of a soak count what it holds: at SIGUSR1 it writes the counts to a file.

Python imports this module at its start, because the soak adds its folder to PYTHONPATH.
"""

import asyncio
import gc
import json
import os
import signal
from pathlib import Path
from types import FrameType

FOLDER = os.environ.get("SOAK_GAUGES")


def write_counts(_: int, __: FrameType | None) -> None:
    gc.collect()
    objects = gc.get_objects()
    counts = {
        "objects": len(objects),
        "tasks": sum(isinstance(each, asyncio.Task) and not each.done() for each in objects),
    }
    path = Path(str(FOLDER), f"{os.getpid()}.json")
    unfinished = path.with_suffix(".new")
    unfinished.write_text(json.dumps(counts), encoding="utf-8")
    unfinished.rename(path)


if FOLDER:
    signal.signal(signal.SIGUSR1, write_counts)

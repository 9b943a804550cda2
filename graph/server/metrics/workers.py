"""Metrics of a server with several processes, which any of them reports."""

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector

_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_FILES = ("counter", "histogram", "gauge_livesum", "gauge_livemin", "gauge_livemax")
_FILE_BYTES = 65_536  # the size that prometheus_client gives a new file


def share_metrics(folder: str, worker: int) -> None:
    """Write the metrics of this process to files. Call it before `Metrics` is created.

    The files are named by the number of the worker, not by its process ID: its successor continues
    the counters, and their number stays constant.
    """
    os.environ[_FOLDER_VARIABLE] = folder
    values.ValueClass = values.MultiProcessValue(lambda: worker)
    for kind in _FILES:
        path = Path(folder, f"{kind}_{worker}.db")
        if not path.exists():
            # prometheus_client sets the size after the creation: reading an empty file fails.
            fresh = path.with_suffix(".new")
            fresh.write_bytes(bytes(_FILE_BYTES))
            fresh.rename(path)


def registry_of_all(own: CollectorRegistry) -> CollectorRegistry:
    """The metrics of all processes: those of this one, if it is alone."""
    if (folder := os.environ.get(_FOLDER_VARIABLE)) is None:
        return own
    registry = CollectorRegistry()
    MultiProcessCollector(registry, folder)
    return registry

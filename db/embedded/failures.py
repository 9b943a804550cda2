"""Telling a damaged cluster, which is moved aside, from a bad moment, in which it is kept."""

import re

from db.errors import Unavailable

LOG_LINE_PREFIX = "%m [%p] %e "


class ClusterDamaged(Exception):
    """The cluster's own files are at fault: no later start can be better."""


class PortTaken(Exception):
    """Another program listens on the port."""


# What the operating system refused, and what the operator can do about it.
_REFUSALS = {
    "No space left on device": "Free some space on the disk of the data folder.",
    "Disk quota exceeded": "Free some of the disk quota, or choose another HOWDAH_DATA_DIR.",
    "Read-only file system": "Choose a folder that can be written with HOWDAH_DATA_DIR.",
    "Permission denied": "Give the data folder and all in it to the user who runs Howdah.",
    "wrong ownership": "Give the data folder and all in it to the user who runs Howdah.",
    "Operation not permitted": "Give the data folder and all in it to the user who runs Howdah.",
    "Cannot allocate memory": "Free some memory; PostgreSQL needs about 100 MB.",
    "could not resize shared memory": "Give the container more shared memory (--shm-size).",
    "Too many open files": "Raise the limit of open files (ulimit -n).",
    "Input/output error": "The disk reports errors: save the data folder elsewhere and check it.",
    "could not look up effective user ID": "Run Howdah as a user the system has a name for.",
}
# SQLSTATE classes of a failed start that say nothing about the files: resources, configuration,
# objects in use, shutdown asked for, wrong parameters.
_NOT_DAMAGE = ("53", "F0", "55", "57", "22", "42", "58030")
_SEVERE = re.compile(r"\] (?P<state>[0-9A-Z]{5}) (?:FATAL|PANIC):  (?P<text>.*)")
_MISSING = re.compile(r"^postgres: could not (?:find|access|open|read).*", re.MULTILINE)


def why_not_started(log: str) -> Exception:
    """Read the log of one failed start: ClusterDamaged, PortTaken or Unavailable."""
    if "Address already in use" in log:
        return PortTaken()
    if refusal := refused(log):
        return refusal
    for severe in _SEVERE.finditer(log):
        if not severe["state"].startswith(_NOT_DAMAGE):
            return ClusterDamaged(severe["text"])
    if missing := _MISSING.search(log):
        return ClusterDamaged(missing[0])
    return _gave_up(log)


def refused(log: str) -> Unavailable | None:
    for words, hint in _REFUSALS.items():
        if words in log:
            line = next(line for line in log.splitlines() if words in line)
            return Unavailable(f"The embedded PostgreSQL can't start: {_text(line)}", hint=hint)
    return None


def _gave_up(log: str) -> Unavailable:
    lines = [line for line in log.splitlines() if line.strip()]
    severe = _SEVERE.search(log)
    said = severe["text"] if severe else _text(lines[-1]) if lines else "it said nothing"
    return Unavailable(
        f"The embedded PostgreSQL can't start: {said}",
        hint="Its whole log is in postgres.log in the data folder.",
    )


def _text(line: str) -> str:
    """A log line without its time, pid and state."""
    return re.split(r"(?:LOG|FATAL|PANIC|ERROR|DETAIL|initdb: error): +", line)[-1].strip()

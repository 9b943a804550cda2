"""Telling a damaged cluster, which is moved aside, from a bad moment, in which it is kept."""

import re

from db.errors import Unavailable

LOG_LINE_PREFIX = "%m [%p] %e "


class ClusterDamaged(Exception):
    """The cluster's own files are at fault: no later start can be better."""


class PortTaken(Exception):
    """Another program listens on the port."""


_GIVE_FILES = "Give the data folder and all in it to the user who runs Howdah."

# What the operating system refused, and what the operator can do about it.
_REFUSALS = {
    "could not create shared memory segment": "Raise the system's limits of shared memory.",
    "could not resize shared memory": "Give the container more shared memory (--shm-size).",
    "No space left on device": "Free some space on the disk of the data folder.",
    "Disk quota exceeded": "Free some of the disk quota, or choose another HOWDAH_DATA_DIR.",
    "Read-only file system": "Choose a folder that can be written with HOWDAH_DATA_DIR.",
    "Permission denied": _GIVE_FILES,
    "Operation not permitted": _GIVE_FILES,
    "wrong ownership": _GIVE_FILES,
    "Cannot allocate memory": "Free some memory; PostgreSQL needs about 100 MB.",
    "Too many open files": "Raise the limit of open files (ulimit -n).",
    "Input/output error": "The disk reports errors: save the data folder elsewhere and check it.",
    "could not look up effective user ID": "Run Howdah as a user the system has a name for.",
}

# Classes of SQLSTATE that say nothing about the files: connections, wrong values, authentication,
# rights, resources, objects in use, an operator's wish, the disk, the configuration.
_NOT_DAMAGE = ("08", "22", "28", "42", "53", "55", "57", "58030", "F0")

_SEVERE = re.compile(r"\] (?P<state>[0-9A-Z]{5}) (?:FATAL|PANIC):  (?P<text>.*)")
_FILE_MISSING = re.compile(r"^postgres: could not (?:.*\n){0,2}.*No such file.*", re.MULTILINE)
# Of a cluster whose PG_VERSION is ours: its control file was overwritten, with zeros mostly.
_CONTROL_FILE_BROKEN = "database files are incompatible with server"
_PREAMBLE = re.compile(r"^.*(?:LOG|FATAL|PANIC|ERROR|DETAIL|error): +")


def is_damage(state: str) -> bool:
    """Whether an SQLSTATE, met while nobody uses the cluster yet, speaks of broken files."""
    return bool(state) and not state.startswith(_NOT_DAMAGE)


def why_not_started(log: str) -> Exception:
    """Read the log of one failed start: ClusterDamaged, PortTaken or Unavailable."""
    if "Address already in use" in log:
        return PortTaken("another program listens on the port")
    if refusal := refused(log):
        return refusal
    for severe in _SEVERE.finditer(log):
        if is_damage(severe["state"]) or _CONTROL_FILE_BROKEN in severe["text"]:
            return ClusterDamaged(severe["text"])
    if missing := _FILE_MISSING.search(log):
        return ClusterDamaged(" ".join(missing[0].split()))
    lines = log.split("\n")
    return _cannot_start(next((line for line in lines if _SEVERE.search(line)), lines[-1]))


def refused(log: str) -> Unavailable | None:
    """What the operating system refused, if that is why."""
    for words, hint in _REFUSALS.items():
        for line in log.splitlines():
            if words in line:
                return _cannot_start(line, hint)
    return None


def _cannot_start(
    line: str, hint: str = "PostgreSQL's whole log is postgres.log in the data folder."
) -> Unavailable:
    return Unavailable(
        f"The embedded PostgreSQL can't start: {_PREAMBLE.sub('', line) or 'it said nothing'}",
        hint=hint,
    )

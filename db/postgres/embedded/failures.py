"""Distinguishes a damaged cluster, which is replaced, from a temporary failure."""

import re

from db.errors import Unavailable

LOG_LINE_PREFIX = "%m [%p] %e "


class ClusterDamaged(Exception):
    """The files of the cluster are damaged, so no later start can succeed."""


class PortTaken(Exception):
    """Another program listens on the port."""


_GIVE_FILES = "Make the user that runs Howdah the owner of the data folder and its files."

# Errors of the operating system, and hints for the operator.
_SYSTEM_ERRORS = {
    "could not create shared memory segment": "Raise the shared memory limits of the system.",
    "could not resize shared memory": "Give the container more shared memory (--shm-size).",
    "No space left on device": "Free space on the disk of the data folder.",
    "Disk quota exceeded": "Free some of the disk quota, or set another HOWDAH_DATA_DIR.",
    "Read-only file system": "Set HOWDAH_DATA_DIR to a writable folder.",
    "Permission denied": _GIVE_FILES,
    "Operation not permitted": _GIVE_FILES,
    "wrong ownership": _GIVE_FILES,
    "Cannot allocate memory": "Free memory; PostgreSQL needs about 100 MB.",
    "Too many open files": "Raise the limit of open files (`ulimit -n`).",
    "Input/output error": "Copy the data folder to another disk and check this one.",
    "could not look up effective user ID": "Run Howdah as a user that has a name on this system.",
}

# SQLSTATE classes without damaged files: connections, invalid values, authentication, privileges,
# resources, objects in use, operator intervention, the disk, the configuration.
_NOT_DAMAGE = ("08", "22", "28", "42", "53", "55", "57", "58030", "F0")

_SEVERE = re.compile(r"\] (?P<state>[0-9A-Z]{5}) (?:FATAL|PANIC):  (?P<text>.*)")
_FILE_MISSING = re.compile(r"^postgres: could not (?:.*\n){0,2}.*No such file.*", re.MULTILINE)
# If PG_VERSION matches, the control file was overwritten, mostly with zeros.
_CONTROL_FILE_BROKEN = "database files are incompatible with server"
_PREAMBLE = re.compile(r"^.*(?:LOG|FATAL|PANIC|ERROR|DETAIL|error): +")


def is_damage(state: str) -> bool:
    """Whether an SQLSTATE during the start of a cluster reports damaged files."""
    return bool(state) and not state.startswith(_NOT_DAMAGE)


def start_error(log: str) -> Exception:
    """The error in the log of a failed start: ClusterDamaged, PortTaken or Unavailable."""
    if "Address already in use" in log:
        return PortTaken("another program listens on the port")
    if error := system_error(log):
        return error
    for severe in _SEVERE.finditer(log):
        if is_damage(severe["state"]) or _CONTROL_FILE_BROKEN in severe["text"]:
            return ClusterDamaged(severe["text"])
    if missing := _FILE_MISSING.search(log):
        return ClusterDamaged(" ".join(missing[0].split()))
    lines = log.split("\n")
    return _cannot_start(next((line for line in lines if _SEVERE.search(line)), lines[-1]))


def system_error(log: str) -> Unavailable | None:
    """The error of the operating system in a log, if there is one."""
    for text, hint in _SYSTEM_ERRORS.items():
        for line in log.splitlines():
            if text in line:
                return _cannot_start(line, hint)
    return None


def _cannot_start(line: str, hint: str = "Read postgres.log in the data folder.") -> Unavailable:
    return Unavailable(
        f"The embedded PostgreSQL cannot start: {_PREAMBLE.sub('', line) or 'it logged no error'}",
        hint=hint,
    )

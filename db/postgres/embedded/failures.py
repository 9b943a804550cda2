"""Distinguishes a damaged cluster, which is replaced, from a temporary failure to start."""

import re

from db.errors import Unavailable

LOG_LINE_PREFIX = "%m [%p] %e "


class ClusterDamaged(Exception):
    """The files of the cluster are damaged, so a retry cannot succeed."""


class PortTaken(Exception):
    """Another program listens on the port."""


_CHANGE_OWNER = "Make the user who runs Howdah the owner of the data folder and its contents."

# Errors of the operating system in the log, with hints for the operator.
_ENVIRONMENT_ERRORS = {
    "could not create shared memory segment": "Raise the system's limits for shared memory.",
    "could not resize shared memory": "Give the container more shared memory (--shm-size).",
    "No space left on device": "Free some space on the disk of the data folder.",
    "Disk quota exceeded": "Free some of the quota, or choose another folder with HOWDAH_DATA_DIR.",
    "Read-only file system": "Choose a writable folder with HOWDAH_DATA_DIR.",
    "Permission denied": _CHANGE_OWNER,
    "Operation not permitted": _CHANGE_OWNER,
    "wrong ownership": _CHANGE_OWNER,
    "Cannot allocate memory": "Free some memory; PostgreSQL needs about 100 MB.",
    "Too many open files": "Raise the limit for open files (ulimit -n).",
    "Input/output error": "The disk has errors: copy the data folder, then check the disk.",
    "could not look up effective user ID": "Run Howdah as a user in the password file.",
}

# Classes of SQLSTATE that do not indicate damage: connections, wrong values, authentication,
# privileges, resources, objects in use, operator intervention, disk, configuration.
_NOT_DAMAGE = ("08", "22", "28", "42", "53", "55", "57", "58030", "F0")

_SEVERE = re.compile(r"\] (?P<state>[0-9A-Z]{5}) (?:FATAL|PANIC):  (?P<text>.*)")
_FILE_MISSING = re.compile(r"^postgres: could not (?:.*\n){0,2}.*No such file.*", re.MULTILINE)
# With a matching PG_VERSION this means that the control file was overwritten, usually with zeros.
_CONTROL_FILE_BROKEN = "database files are incompatible with server"
_PREAMBLE = re.compile(r"^.*(?:LOG|FATAL|PANIC|ERROR|DETAIL|error): +")


def is_damage(state: str) -> bool:
    """Whether an SQLSTATE during the start indicates damaged files."""
    return bool(state) and not state.startswith(_NOT_DAMAGE)


def start_failure(log: str) -> Exception:
    """Returns ClusterDamaged, PortTaken or Unavailable, according to the log of a failed start."""
    if "Address already in use" in log:
        return PortTaken("another program listens on the port")
    if error := environment_error(log):
        return error
    for severe in _SEVERE.finditer(log):
        if is_damage(severe["state"]) or _CONTROL_FILE_BROKEN in severe["text"]:
            return ClusterDamaged(severe["text"])
    if missing := _FILE_MISSING.search(log):
        return ClusterDamaged(" ".join(missing[0].split()))
    lines = log.split("\n")
    return _cannot_start(next((line for line in lines if _SEVERE.search(line)), lines[-1]))


def environment_error(log: str) -> Unavailable | None:
    """An error of the operating system that prevented the start, or None."""
    for message, hint in _ENVIRONMENT_ERRORS.items():
        for line in log.splitlines():
            if message in line:
                return _cannot_start(line, hint)
    return None


def _cannot_start(
    line: str, hint: str = "Read PostgreSQL's log, postgres.log in the data folder."
) -> Unavailable:
    return Unavailable(
        f"The embedded PostgreSQL cannot start: {_PREAMBLE.sub('', line) or 'its log is empty'}",
        hint=hint,
    )

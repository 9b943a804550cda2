"""The files around one cluster: its lock, its password, and the process that serves it."""

import contextlib
import fcntl
import json
import os
from datetime import UTC, datetime
from pathlib import Path

from db.errors import Unavailable
from db.postgres.embedded.account import Account


class DataFolder:
    """A folder that one process at a time can lock.

    cluster/        PostgreSQL's own files
    lock            locked with flock by the process that serves the cluster
    server.json     that process: its ID, start time and address
    password        password of the role `howdah`; mode 0600
    postgres.log    PostgreSQL's log since the last start; postgres.log.1 is the one before
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.account = Account.of_folder(path)
        self.cluster = path / "cluster"
        self.log = path / "postgres.log"
        self._password = path / "password"
        self._server = path / "server.json"
        self._lock = lock
        self._holder: dict[str, str | int] = {
            "pid": os.getpid(),
            "started_at": datetime.now(UTC).isoformat("T", "seconds"),
        }

    @classmethod
    def acquire(cls, path: Path) -> "DataFolder":
        """Create the folder if it is missing, and lock it.

        Raises:
            Unavailable: another process has locked it, or it cannot be used.
        """
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = path.resolve()
            with contextlib.suppress(PermissionError):  # another user may own a mounted volume
                path.chmod(0o700)  # excludes other programs that run as `nobody`
            # Python opens files close-on-exec: no child holds the lock after this process ends.
            lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise unusable_error(path, error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            folder = cls(path, lock)
            folder._begin()
        except BlockingIOError:
            os.close(lock)
            raise _locked_error(path) from None
        except OSError as error:
            os.close(lock)
            raise unusable_error(path, error) from error
        except BaseException:
            os.close(lock)
            raise
        return folder

    def release(self) -> None:
        if self._lock < 0:
            return
        self._server.unlink(missing_ok=True)
        fcntl.flock(self._lock, fcntl.LOCK_UN)  # also for a fork that still has it open
        os.close(self._lock)
        self._lock = -1

    def announce(self, address: str) -> None:
        """Record the address of the server, for the error of a second server on this folder."""
        self._holder["address"] = address
        self._write(self._server, json.dumps(self._holder))

    @property
    def password(self) -> str | None:
        try:
            return self._password.read_text().strip() or None
        except FileNotFoundError:
            return None

    def write_password(self, password: str) -> None:
        self._write(self._password, f"{password}\n")

    def set_aside(self) -> Path:
        """Rename a cluster that cannot start, so that a new one can replace it."""
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        return self.cluster.rename(self.cluster.with_name(f"{self.cluster.name}.damaged-{now}"))

    def _begin(self) -> None:
        if self.log.exists():
            self.log.rename(self.log.with_suffix(".log.1"))
        self.log.touch(mode=0o600)
        self._write(self._server, json.dumps(self._holder))
        for path in (self.path / "lock", self.log):
            self._give_to_owner(path)

    def _write(self, path: Path, text: str) -> None:
        """Replace a file atomically. Other users can never read it."""
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        fresh.touch(mode=0o600)
        fresh.write_text(text)
        self._give_to_owner(fresh)
        fresh.rename(path)

    def _give_to_owner(self, path: Path) -> None:
        """As root, make the owner of the folder the owner of the file."""
        if os.geteuid() == 0:
            owner = self.path.stat()
            os.chown(path, owner.st_uid, owner.st_gid)


def unusable_error(path: Path, error: OSError) -> Unavailable:
    return Unavailable(
        f"The data folder {path} cannot be used: {error.strerror or error}.",
        hint="Make the folder and its files writable for this user, check the free disk space, "
        "or set another HOWDAH_DATA_DIR.",
    )


def _locked_error(path: Path) -> Unavailable:
    try:
        holder = json.loads((path / "server.json").read_text())
        who = f" (pid {holder['pid']}, since {holder['started_at']})"
        where = f" at {holder['address']}" if "address" in holder else ""
    except (OSError, ValueError, LookupError, TypeError):
        who = where = ""  # it has not written the file yet
    return Unavailable(
        f"Another Howdah server{who} is running on the data folder {path}{where}.",
        hint="Use that server, stop it, or pass another --data-dir (HOWDAH_DATA_DIR).",
    )

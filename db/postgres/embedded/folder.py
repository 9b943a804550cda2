"""The files around one cluster: its lock, its password, and the serving process."""

import contextlib
import fcntl
import json
import os
from datetime import UTC, datetime
from pathlib import Path

from db.errors import Unavailable
from db.postgres.embedded.account import Account


class DataFolder:
    """One folder, held by one process at a time.

    cluster/        PostgreSQL's own files
    lock            locked with flock while a process uses the folder
    server.json     the process that holds the lock: pid, start time, address
    password        password of the role `howdah`; 0600
    postgres.log    PostgreSQL's log since this start; postgres.log.1 is the previous one
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.account = Account.for_folder(path)
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
        """Creates and locks the folder. Raises Unavailable if another process has the lock."""
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = path.resolve()
            with contextlib.suppress(PermissionError):  # another user may own a mounted volume
                path.chmod(0o700)  # excludes other processes that run as `nobody`
            # Python opens files close-on-exec, so children do not keep the lock.
            lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise unusable_folder(path, error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            folder = cls(path, lock)
            folder._prepare()
        except BlockingIOError:
            os.close(lock)
            raise _folder_in_use(path) from None
        except OSError as error:
            os.close(lock)
            raise unusable_folder(path, error) from error
        except BaseException:
            os.close(lock)
            raise
        return folder

    def release(self) -> None:
        if self._lock < 0:
            return
        self._server.unlink(missing_ok=True)
        fcntl.flock(self._lock, fcntl.LOCK_UN)  # even if a forked child still has it open
        os.close(self._lock)
        self._lock = -1

    def announce(self, address: str) -> None:
        """Records the address of the server, for the error of a second one."""
        self._holder["address"] = address
        self._write(self._server, json.dumps(self._holder))

    @property
    def password(self) -> str | None:
        try:
            return self._password.read_text().strip() or None
        except FileNotFoundError:
            return None

    def keep_password(self, password: str) -> None:
        self._write(self._password, f"{password}\n")

    def move_aside(self) -> Path:
        """Renames a damaged cluster instead of deleting it. Returns its new path."""
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        return self.cluster.rename(self.cluster.with_name(f"{self.cluster.name}.damaged-{now}"))

    def _prepare(self) -> None:
        if self.log.exists():
            self.log.rename(self.log.with_suffix(".log.1"))
        self.log.touch(mode=0o600)
        self._write(self._server, json.dumps(self._holder))
        for path in (self.path / "lock", self.log):
            self._give_to_owner(path)

    def _write(self, path: Path, text: str) -> None:
        """Writes atomically, readable only for the owner."""
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        fresh.touch(mode=0o600)
        fresh.write_text(text)
        self._give_to_owner(fresh)
        fresh.rename(path)

    def _give_to_owner(self, path: Path) -> None:
        """Lets the owner of the folder start without root after a start as root."""
        if os.geteuid() == 0:
            owner = self.path.stat()
            os.chown(path, owner.st_uid, owner.st_gid)


def unusable_folder(path: Path, error: OSError) -> Unavailable:
    return Unavailable(
        f"The data folder {path} cannot be used: {error.strerror or error}.",
        hint="Make it and its contents writable for this user, check the free disk space, "
        "or choose another with HOWDAH_DATA_DIR.",
    )


def _folder_in_use(path: Path) -> Unavailable:
    try:
        holder = json.loads((path / "server.json").read_text())
        process = f" (pid {holder['pid']}, since {holder['started_at']})"
        address = f" at {holder['address']}" if "address" in holder else ""
    except (OSError, ValueError, LookupError, TypeError):
        process = address = ""  # it holds the lock, but has not written the file yet
    return Unavailable(
        f"Another Howdah server{process} is running on the data folder {path}{address}.",
        hint="Use that one, stop it first, or choose another folder with HOWDAH_DATA_DIR.",
    )

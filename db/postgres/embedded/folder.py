"""The files around one cluster: its lock, its password, who is serving it."""

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
    lock            held with flock for as long as we live
    server.json     who holds it: pid, since when, at which address
    password        of the role `howdah`; 0600
    postgres.log    PostgreSQL's log of this start; postgres.log.1 of the one before
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
        """Make the folder where missing and take its lock; Unavailable when another has it."""
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = path.resolve()
            with contextlib.suppress(PermissionError):  # a mounted volume may be another's
                path.chmod(0o700)  # keeps out whoever else runs as `nobody`
            # Python opens files close-on-exec: no child holds the lock when we are gone.
            lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise unusable(path, error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            folder = cls(path, lock)
            folder._begin()
        except BlockingIOError:
            os.close(lock)
            raise _taken(path) from None
        except OSError as error:
            os.close(lock)
            raise unusable(path, error) from error
        except BaseException:
            os.close(lock)
            raise
        return folder

    def release(self) -> None:
        if self._lock < 0:
            return
        self._server.unlink(missing_ok=True)
        fcntl.flock(self._lock, fcntl.LOCK_UN)  # also for a fork of us that still has it open
        os.close(self._lock)
        self._lock = -1

    def announce(self, address: str) -> None:
        """Say where this folder is served, for whoever tries to open it too."""
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
        """Keep a cluster that cannot start, under another name."""
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
        """All of it or nothing, and never readable for others."""
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        fresh.touch(mode=0o600)
        fresh.write_text(text)
        self._give_to_owner(fresh)
        fresh.rename(path)

    def _give_to_owner(self, path: Path) -> None:
        """What root makes in a user's folder, that user must be able to use without root."""
        if os.geteuid() == 0:
            owner = self.path.stat()
            os.chown(path, owner.st_uid, owner.st_gid)


def unusable(path: Path, error: OSError) -> Unavailable:
    return Unavailable(
        f"The data folder {path} can't be used: {error.strerror or error}.",
        hint="Make it and all in it writable for this user, check the free space of its disk, "
        "or choose another with HOWDAH_DATA_DIR.",
    )


def _taken(path: Path) -> Unavailable:
    try:
        holder = json.loads((path / "server.json").read_text())
        who = f" (pid {holder['pid']}, since {holder['started_at']})"
        where = f" at {holder['address']}" if "address" in holder else ""
    except (OSError, ValueError, LookupError, TypeError):
        who = where = ""  # it holds the lock and has not said yet who it is
    return Unavailable(
        f"Another Howdah server{who} is running on the data folder {path}{where}.",
        hint="Use that one, stop it first, or choose another folder with HOWDAH_DATA_DIR.",
    )

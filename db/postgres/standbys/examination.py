"""Examines the standbys of the settings once, for `howdah doctor`."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import asyncpg

from db.postgres.engine import Database
from db.postgres.own_cluster import OwnCluster
from db.postgres.route.connect import connect, connection_error
from db.postgres.route.urls import DatabaseUrl
from db.postgres.standbys.standby import CONNECT_S, FAILURES, StandbyError, check_standby
from db.postgres.standbys.standbys import MAX_LAG_S, read_position

WAIT_S = 0.05
_REPLAYED = "SELECT coalesce((pg_catalog.pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::int8, 0)"
_CANCELS_READS = """SELECT NOT current_setting('hot_standby_feedback')::bool
    AND current_setting('max_standby_streaming_delay') <> '-1'"""


class StandbyState(NamedTuple):
    """What was found at one URL. `fault` is None if queries can be read there."""

    place: str
    fault: str | None = None
    lag_bytes: int = 0
    is_late: bool = False
    """Whether it still lacked what the primary had, when MAX_LAG_S had passed."""
    cancels_reads: bool = False
    """Whether replay may end its reads, so that they are repeated on the primary."""


async def examine_standbys(
    urls: Sequence[DatabaseUrl], primary: Database
) -> AsyncIterator[StandbyState]:
    system = (await OwnCluster(primary).identity()).system or ""
    for url in urls:
        try:
            async with asyncio.timeout(CONNECT_S):
                connection = await connect(replace(url, pooled=False))
        except FAILURES as error:
            yield StandbyState(url.place, connection_error(error, url).message)
            continue
        try:
            await check_standby(connection, system)
            yield await _measure(connection, url.place, primary)
        except StandbyError as error:
            yield StandbyState(url.place, f"The server at {url.place} cannot be used: {error}.")
        except FAILURES as error:
            yield StandbyState(url.place, f"{url.place}: {type(error).__name__}.")
        finally:
            connection.terminate()


async def _measure(connection: asyncpg.Connection, place: str, primary: Database) -> StandbyState:
    position = await read_position(primary)
    lag_bytes = max(position - await connection.fetchval(_REPLAYED), 0)
    try:
        async with asyncio.timeout(MAX_LAG_S):
            while await connection.fetchval(_REPLAYED) < position:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(WAIT_S)
    except TimeoutError:
        return StandbyState(place, lag_bytes=lag_bytes, is_late=True)
    cancels_reads = await connection.fetchval(_CANCELS_READS)
    return StandbyState(place, lag_bytes=lag_bytes, cancels_reads=cancels_reads)

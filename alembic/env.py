"""Runs migrations on a connection given by `db.migrations`, or on one of its own for the CLI."""

import asyncio

from sqlalchemy import Connection

from alembic import context
from db import models
from db.engine import create_engine
from db.migrations import holding_the_lock
from db.settings import load_settings
from db.urls import parse_url

config = context.config


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=models.metadata,
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def run_locked(connection: Connection) -> None:
    with holding_the_lock(connection):
        run(connection)


async def run_alone() -> None:
    url = load_settings().direct_url
    if url is None:
        raise SystemExit(
            "Set HOWDAH_DATABASE_URL; `howdah migrate` serves the embedded database too."
        )
    engine = create_engine(parse_url(url))
    async with engine.connect() as connection:
        await connection.run_sync(run_locked)
    await engine.dispose()


if (given := config.attributes.get("connection")) is not None:
    run(given)
else:
    asyncio.run(run_alone())

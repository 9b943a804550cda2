"""Runs migrations on the connection of `db.postgres.schema.migrations`, or on a new one."""

import asyncio

from sqlalchemy import Connection

from alembic import context
from db import models
from db.postgres.route.connect import create_engine
from db.postgres.route.urls import parse_url
from db.postgres.schema.migrations import holding_the_lock
from db.settings import load_settings

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
    settings = load_settings()
    url = settings.direct_database_url or settings.database_url  # a pooler keeps no locks
    if url is None:
        raise SystemExit(
            "Set HOWDAH_DATABASE_URL; `howdah migrate` serves the embedded database too."
        )
    engine = create_engine(parse_url(url))
    async with engine.connect() as connection:
        await connection.run_sync(run_locked)
    await engine.dispose()


def write_sql() -> None:
    context.configure(dialect_name="postgresql", target_metadata=models.metadata)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    write_sql()
elif (connection := config.attributes.get("connection")) is not None:
    run(connection)
else:
    asyncio.run(run_alone())

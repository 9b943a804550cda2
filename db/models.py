"""Imports every table, so that the metadata for alembic is complete."""

from db import connections, runs, storage, tasks, users
from db.kit import idempotency
from db.kit.base import Base
from db.system import integrity

DOMAINS = (connections, idempotency, integrity, runs, storage, tasks, users)

metadata = Base.metadata

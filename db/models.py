"""Every table of every domain, so that the metadata alembic compares with is whole."""

from db import connections, idempotency, integrity, runs, storage, tasks, users
from db.base import Base

DOMAINS = (connections, idempotency, integrity, runs, storage, tasks, users)

metadata = Base.metadata

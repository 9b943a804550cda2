"""Every table of every domain, so that the metadata alembic compares with is whole."""

from db import connections, runs, storage, tasks, users
from db.kit import idempotency
from db.kit.base import Base
from db.system import integrity

DOMAINS = (connections, idempotency, integrity, runs, storage, tasks, users)

metadata = Base.metadata

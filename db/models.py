"""Every table of every domain, so that the metadata alembic compares with is whole."""

from db import idempotency, storage, tasks, users
from db.base import Base

DOMAINS = (idempotency, storage, tasks, users)

metadata = Base.metadata

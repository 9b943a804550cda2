"""Every table of every domain, so that the metadata alembic compares with is whole."""

from db import idempotency, tasks
from db.base import Base

DOMAINS = (idempotency, tasks)

metadata = Base.metadata

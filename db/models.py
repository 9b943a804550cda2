"""Every table of every domain, so that the metadata alembic compares with is whole."""

from db import idempotency, tasks, users
from db.base import Base

DOMAINS = (idempotency, tasks, users)

metadata = Base.metadata

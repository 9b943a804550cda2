"""Every table of every domain, so that the metadata alembic compares with is whole."""

from db.base import Base

metadata = Base.metadata

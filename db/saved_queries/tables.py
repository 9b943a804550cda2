"""Tables of saved queries and of their earlier versions."""

from uuid import UUID

from sqlalchemy import (
    Computed,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Text,
    UniqueConstraint,
)

from db.kit.base import (
    Base,
    HasId,
    HasOwner,
    HasTimes,
    HasVersion,
    Mapped,
    TimestampText,
    mapped_column,
)


class SavedQuery(HasId, HasOwner, HasTimes, HasVersion, Base):
    """The folder of one that is in no folder is empty, not null: names are unique in a folder."""

    __tablename__ = "saved_queries"

    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(Text)
    folder: Mapped[str] = mapped_column(Text(collation="C"))
    text: Mapped[str] = mapped_column(Text)
    connection_id: Mapped[UUID | None]
    parameters: Mapped[str] = mapped_column(Text)
    """JSON of a list of `SavedParameter`."""
    sort_name: Mapped[str] = mapped_column(Text, Computed("lower(name)", persisted=True))
    search_text: Mapped[str] = mapped_column(
        Text, Computed("lower((name || chr(10)) || text)", persisted=True)
    )

    __table_args__ = (
        UniqueConstraint("id", "owner_id"),
        UniqueConstraint("owner_id", "folder", "name"),
        ForeignKeyConstraint(
            ["connection_id", "owner_id"],
            ["database_connections.id", "database_connections.owner_id"],
            ondelete="SET NULL (connection_id)",
        ),
        Index("ix_saved_queries_connection", "connection_id", "owner_id"),
        Index("ix_saved_queries_created", "owner_id", "created_at", "id"),
        Index("ix_saved_queries_updated", "owner_id", "updated_at", "id"),
        Index("ix_saved_queries_name", "owner_id", "sort_name", "id"),
        Index(
            "ix_saved_queries_search",
            "owner_id",
            "search_text",
            postgresql_using="gin",
            postgresql_ops={"search_text": "gin_trgm_ops"},
        ),
    )


class SavedQueryVersion(HasId, HasOwner, Base):
    """A saved query as it was before a change. IDs grow, so they order the versions."""

    __tablename__ = "saved_query_versions"

    saved_query_id: Mapped[UUID]
    version: Mapped[int]
    name: Mapped[str] = mapped_column(Text)
    folder: Mapped[str] = mapped_column(Text(collation="C"))
    text: Mapped[str] = mapped_column(Text)
    parameters: Mapped[str] = mapped_column(Text)
    saved_at: Mapped[TimestampText]

    __table_args__ = (
        ForeignKeyConstraint(
            ["saved_query_id", "owner_id"],
            ["saved_queries.id", "saved_queries.owner_id"],
            ondelete="CASCADE",
        ),
        Index("ix_saved_query_versions_saved", "saved_query_id", "saved_at", "id"),
    )

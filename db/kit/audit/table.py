"""The table of the audit log. Triggers refuse UPDATE, TRUNCATE and DELETE (migration 0011)."""

from uuid import UUID

from sqlalchemy import BigInteger, Index, Text, func, text

from db.kit.base import Base, HasId, HasOwner, Mapped, TimestampText, mapped_column


class AuditEvent(HasId, HasOwner, Base):
    """One act. Without foreign keys, so that it survives what it is about.

    `owner_id` is the user whose account the act concerns: mostly the one who acted, but the user of
    whom an admin changed the role, and whose password was guessed wrong.
    """

    __tablename__ = "audit_events"

    owner_id: Mapped[UUID | None] = mapped_column()  # type: ignore[assignment]  # acts of the operator concern no user
    created_at: Mapped[TimestampText] = mapped_column(server_default=func.clock_timestamp())
    kind: Mapped[str] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(Text)
    actor_id: Mapped[UUID | None]
    actor_email: Mapped[str | None] = mapped_column(Text)
    session_id: Mapped[UUID | None]
    token_id: Mapped[UUID | None]
    request_id: Mapped[str] = mapped_column(Text)
    address: Mapped[str] = mapped_column(Text)
    subject_id: Mapped[UUID | None]
    subject_name: Mapped[str] = mapped_column(Text)
    details: Mapped[str] = mapped_column(Text)
    position: Mapped[int] = mapped_column(
        BigInteger, server_default=text("pg_current_xact_id()::text::bigint")
    )
    """The transaction: readers of the stream wait until every earlier one has ended."""

    __table_args__ = (
        Index("ix_audit_events_owner", "owner_id", "created_at", "id"),
        Index("ix_audit_events_created", "created_at", "id"),
        Index("ix_audit_events_kind", "kind", "created_at", "id"),
        Index("ix_audit_events_position", "position", "id"),
    )

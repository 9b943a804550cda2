"""Access tokens for programs: the table, its rows, and the repository of one user."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, ForeignKey, Index, LargeBinary, Text, bindparam, func, select
from sqlalchemy.sql import ClauseElement

from db.errors import BadInput, TooLarge
from db.kit.audit import AuditKind, record
from db.kit.base import Base, HasId, HasOwner, Mapped, TimestampText, mapped_column
from db.kit.lists.paging import Page, PageShape, SortOrder, Window
from db.kit.repository import Repository, S
from db.kit.text_rules import Required
from db.postgres.sessions import Session
from db.postgres.statements import statement
from db.users.accounts import User

NEWEST = SortOrder("created_at")
MAX_TOKENS = 100
DEFAULT_LIFE = timedelta(days=90)
MAX_LIFE = timedelta(days=3_650)

name_rule = Required("name", max_length=100)


class AccessTokenScope(StrEnum):
    TASKS_READ = "TASKS_READ"
    TASKS_WRITE = "TASKS_WRITE"
    STORAGE_READ = "STORAGE_READ"
    STORAGE_WRITE = "STORAGE_WRITE"
    WORKBENCH_READ = "WORKBENCH_READ"
    WORKBENCH_READ_ONLY = "WORKBENCH_READ_ONLY"
    WORKBENCH_WRITE = "WORKBENCH_WRITE"
    ADMIN_READ = "ADMIN_READ"
    ADMIN_WRITE = "ADMIN_WRITE"


Scopes = frozenset[AccessTokenScope]

_INCLUDED: dict[AccessTokenScope, tuple[AccessTokenScope, ...]] = {
    AccessTokenScope.TASKS_WRITE: (AccessTokenScope.TASKS_READ,),
    AccessTokenScope.STORAGE_WRITE: (AccessTokenScope.STORAGE_READ,),
    AccessTokenScope.WORKBENCH_READ_ONLY: (AccessTokenScope.WORKBENCH_READ,),
    AccessTokenScope.WORKBENCH_WRITE: (
        AccessTokenScope.WORKBENCH_READ_ONLY,
        AccessTokenScope.WORKBENCH_READ,
    ),
    AccessTokenScope.ADMIN_WRITE: (AccessTokenScope.ADMIN_READ,),
}


def granted_scopes(stored: Iterable[str]) -> Scopes:
    """The scopes of a token with those that they include: a scope to write includes reading."""
    scopes = [AccessTokenScope(name) for name in stored]
    return frozenset(scopes).union(*(_INCLUDED.get(scope, ()) for scope in scopes))


class AccessToken(HasId, HasOwner, Base):
    """Stores the SHA-256 of the token: it has 190 random bits, so that nobody can guess it."""

    __tablename__ = "access_tokens"

    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(Text)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    created_at: Mapped[TimestampText] = mapped_column(server_default=func.now())
    expires_at: Mapped[TimestampText]
    last_used_at: Mapped[TimestampText | None]

    __table_args__ = (
        Index("ix_access_tokens_created", "owner_id", "created_at", "id"),
        Index(None, "expires_at"),
    )


class AccessTokenRow(NamedTuple):
    """An access token without its hash."""

    id: UUID
    name: str
    scopes: Sequence[str]
    created_at: TimestampText
    expires_at: TimestampText
    last_used_at: TimestampText | None


class AccessTokenList(Repository[AccessTokenRow, S]):
    """The access tokens of one user."""

    model = AccessToken
    row = AccessTokenRow
    noun = "access token"

    async def create(
        self: "AccessTokenList[Session]",
        *,
        name: str,
        scopes: Sequence[AccessTokenScope],
        expires_at: datetime | None,
        token_hash: bytes,
    ) -> AccessTokenRow:
        """Runs in a transaction: it counts the tokens first, and records the act.

        Of two that run at the same time, the second counts the token of the first.
        """
        values = {
            "name": name_rule.checked(name),
            "scopes": _checked_scopes(scopes),
            "expires_at": _checked_expiry(expires_at),
        }
        await self.run(self._lock_owner())
        if await self.count() >= MAX_TOKENS:
            raise TooLarge(
                f"You already have {MAX_TOKENS} access tokens.",
                hint="Revoke those that are no longer used: `lastUsedAt` shows it.",
            )
        token = await self.add(token_hash=token_hash, **values)
        await self._record(AuditKind.ACCESS_TOKEN_CREATED, token)
        return token

    async def revoke(self: "AccessTokenList[Session]", token_id: UUID) -> None:
        """Deletes a token, and records it, in a transaction."""
        token = await self.require(token_id)
        await self.remove(token_id)
        await self._record(AuditKind.ACCESS_TOKEN_REVOKED, token)

    async def _record(
        self: "AccessTokenList[Session]", kind: AuditKind, token: AccessTokenRow
    ) -> None:
        await record(
            self.session,
            kind,
            owner_id=self.owner,
            subject_id=token.id,
            subject_name=token.name,
            details={"scopes": list(token.scopes), "expiresAt": token.expires_at},
        )

    async def page(self, window: Window) -> Page[AccessTokenRow]:
        return await self.fetch_page(self._page(window.shape), window, NEWEST)

    async def count(self) -> int:
        return int(await self.value(self._count()))

    @statement
    def _page(cls, shape: PageShape) -> ClauseElement:
        return cls.select_page(cls.owned(), NEWEST, shape)

    @statement
    def _count(cls) -> ClauseElement:
        return cls.owned(func.count())

    @statement
    def _lock_owner(cls) -> ClauseElement:
        """Other rows of the owner may still be inserted: their foreign keys need less."""
        owner = select(User.id).where(User.id == bindparam("owner_id"))
        return owner.with_for_update(key_share=True)


def _checked_scopes(scopes: Sequence[AccessTokenScope]) -> list[str]:
    if not scopes:
        raise BadInput(
            "`scopes` is empty, so the token could do nothing.",
            hint="Pass at least one scope, such as `TASKS_READ`.",
            field="scopes",
        )
    return sorted(set(scopes))


def _checked_expiry(expires_at: datetime | None) -> datetime:
    now = datetime.now(UTC)
    if expires_at is None:
        return now + DEFAULT_LIFE
    if not now < expires_at <= now + MAX_LIFE:
        raise BadInput(
            "`expiresAt` is not in the future, or more than ten years from now.",
            hint="Pass a time within the next ten years, or omit it: the token is then valid for "
            f"{DEFAULT_LIFE.days} days.",
            field="expiresAt",
        )
    return expires_at

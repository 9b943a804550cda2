import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import asyncpg
import pytest

from db.errors import Conflict
from db.kit.audit import AuditKind
from db.kit.base import OwnerId
from db.postgres.engine import Database
from db.users import ExternalUser, OwnUser, UserRow, Users, canonical_email
from tests.fixtures.identity import identity_on
from tests.fixtures.notes import observer
from tests.fixtures.patience import patience

__all__ = ["observer"]

OUTSIDE = ExternalUser("https://issuer.example.com/", "subject-1", "ada@example.com", "Ada")
_WAITING = "SELECT count(*) FROM pg_locks WHERE relation = 'users'::regclass AND NOT granted"


async def add(database: Database, email: str = "ada@example.com") -> UserRow:
    return await database.write(
        lambda session: Users(session).add(email=email, name="Ada", password_hash="hash")
    )


async def meet(database: Database, person: ExternalUser = OUTSIDE) -> UserRow | None:
    return await database.transaction(lambda session: Users(session).get_or_create_external(person))


async def remove(database: Database, user_id: UUID) -> bool:
    return await database.transaction(lambda session: Users(session).remove(user_id))


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        (" Ada@Example.COM\n", "ada@example.com"),
        ("E\u0301va@b\u00fccher.example", "\u00e9va@b\u00fccher.example"),
        ("a+b.c@x-y.example", "a+b.c@x-y.example"),
    ],
)
def test_email_has_canonical_form(written: str, canonical: str) -> None:
    assert canonical_email(written) == canonical


async def test_external_user_is_created_once_and_found_again(database: Database) -> None:
    first = await meet(database)
    again = await meet(database, OUTSIDE._replace(name="Another name", email=None))
    assert first == again
    assert first is not None
    assert (first.email, first.name, first.role) == ("ada@example.com", "Ada", "USER")


async def at_once(
    observer: asyncpg.Connection, create: Callable[[], Awaitable[UserRow | None]]
) -> list[UserRow | None]:
    """The users of six calls, none of which finds what another one creates."""
    async with observer.transaction():
        await observer.execute("LOCK TABLE users IN SHARE MODE")
        calls = [asyncio.ensure_future(create()) for _ in range(6)]
        async with patience():
            while await observer.fetchval(_WAITING) < 6:  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.01)
    return await asyncio.gather(*calls)


async def recorded(observer: asyncpg.Connection) -> list[str]:
    return [row["kind"] for row in await observer.fetch("SELECT kind FROM audit_events")]


async def test_external_user_is_created_once_under_concurrency(
    committed: Database, observer: asyncpg.Connection
) -> None:
    assert len(set(await at_once(observer, lambda: meet(committed)))) == 1
    assert await recorded(observer) == [AuditKind.USER_CREATED]


async def test_local_admin_is_created_once_by_servers_that_start_together(
    committed: Database, observer: asyncpg.Connection
) -> None:
    async with identity_on(committed) as identity:
        assert len(set(await at_once(observer, identity.local_admin))) == 1
    assert await recorded(observer) == [AuditKind.USER_CREATED]


async def test_external_email_neither_matches_nor_blocks_account(
    database: Database,
) -> None:
    ours = await add(database)
    outsider = await meet(database)
    assert outsider is not None
    assert outsider.id != ours.id
    async with database.read() as session:
        found = await Users(session).by_email("ada@example.com")
    assert found == (ours, "hash")


async def test_email_is_unique_under_concurrency(
    committed: Database,
) -> None:
    answers = await asyncio.gather(*(add(committed) for _ in range(4)), return_exceptions=True)
    assert sum(isinstance(answer, UserRow) for answer in answers) == 1
    assert sum(isinstance(answer, Conflict) for answer in answers) == 3


async def test_removed_user_is_not_found(database: Database) -> None:
    ada = await add(database)
    assert await remove(database, ada.id)
    assert not await remove(database, ada.id)
    async with database.read() as session:
        users = Users(session)
        assert await users.by_id(ada.id) is None
        assert await users.by_email("ada@example.com") is None
        assert await users.page() == []
    assert (await add(database)).id != ada.id  # the address is free again


async def test_removed_external_user_is_not_created_again(
    database: Database,
) -> None:
    outsider = await meet(database)
    assert outsider is not None
    assert await remove(database, outsider.id)
    assert await meet(database) is None
    async with database.read() as session:
        assert await Users(session).page() == []
    assert await meet(database, OUTSIDE._replace(subject="subject-2")) is not None


async def test_users_are_listed_oldest_first(database: Database) -> None:
    users = [await add(database, f"user{number}@example.com") for number in range(3)]
    async with database.read() as session:
        assert await Users(session).page() == users
        assert await Users(session).page(after=users[1].id) == users[2:]


async def test_set_password_requires_verified_hash(
    database: Database,
) -> None:
    ada = await add(database)

    async def change(verified: str, new: str) -> bool:
        return await database.write(
            lambda session: Users(session).set_password(
                ada.id, verified=verified, password_hash=new
            )
        )

    assert await change("hash", "new hash")
    assert not await change("hash", "another hash")
    async with database.read() as session:
        assert await Users(session).with_password(ada.id) == (ada, "new hash")


async def test_own_user_finds_only_its_owner(database: Database) -> None:
    ada, bob = await add(database), await add(database, "bob@example.com")
    async with database.read() as session:
        own = OwnUser(session, OwnerId(ada.id))
        assert await own.get(ada.id) == ada
        assert await own.get(bob.id) is None
        assert await own.get_many([ada.id, bob.id]) == [ada]

"""Access tokens of one user: their number, and when the last use is written."""

import asyncio

import pytest

from db.errors import TooLarge
from db.kit.base import OwnerId
from db.postgres.engine import Database
from db.users import (
    AccessTokenList,
    AccessTokenRow,
    AccessTokenScope,
    UnscopedAccessTokens,
    make_token,
)


async def create(database: Database, owner: OwnerId) -> AccessTokenRow:
    return await database.transaction(
        lambda session: AccessTokenList(session, owner).create(
            name="n",
            scopes=[AccessTokenScope.TASKS_READ],
            expires_at=None,
            token_hash=make_token().hash,
        )
    )


async def test_concurrent_creations_stay_within_the_limit(
    committed: Database, committed_owner: OwnerId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.users.access_tokens.MAX_TOKENS", 2)
    calls = [create(committed, committed_owner) for _ in range(6)]
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(end) for end in ends].count(AccessTokenRow) == 2
    assert [type(end) for end in ends].count(TooLarge) == 4


async def test_use_of_a_token_is_written_by_one_of_many_processes(
    committed: Database, committed_owner: OwnerId
) -> None:
    token = await create(committed, committed_owner)

    async def used_at() -> str | None:
        await committed.write(lambda session: UnscopedAccessTokens(session).record_use(token.id))
        async with committed.read() as session:
            return (await AccessTokenList(session, committed_owner).require(token.id)).last_used_at

    assert await used_at() == await used_at() is not None

"""The number of access tokens of one user."""

import asyncio

import pytest

from db.errors import TooLarge
from db.kit.base import OwnerId
from db.postgres.engine import Database
from db.users import AccessTokenList, AccessTokenRow, AccessTokenScope, make_token


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

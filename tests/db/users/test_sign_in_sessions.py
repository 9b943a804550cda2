import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Interval, bindparam, text

from db.errors import Unauthenticated
from db.postgres.engine import Database, open_database
from db.postgres.sessions import Session
from db.postgres.statements import compile_change, compile_statement
from db.users import Identity, SignInResult, sign_in_sessions
from db.users.unscoped.presented_tokens import REUSE_GRACE
from tests.fixtures.identity import PASSWORD, identity_on, sign_up
from tests.fixtures.patience import patience

_LOCK = compile_statement(text("SELECT id FROM sessions FOR UPDATE"))
_WAITING = compile_statement(
    text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock'"
    )
)
_HASH = compile_statement(text("SELECT password_hash FROM users WHERE id = :id"))
_LIVE = compile_statement(
    text("SELECT id FROM sessions WHERE owner_id = :owner AND revoked_at IS NULL")
)

_AGE = compile_change(
    text("UPDATE sessions SET rotated_at = rotated_at - :age").bindparams(
        bindparam("age", type_=Interval())
    )
)

_REST = compile_change(text("UPDATE sessions SET last_used_at = last_used_at - interval '1 hour'"))
_ENDED = compile_statement(
    text("SELECT details FROM audit_events WHERE owner_id = :owner AND kind = 'SESSION_ENDED'")
)
_COUNT = compile_statement(text("SELECT count(*) FROM sessions WHERE owner_id = :owner"))


async def sign_in(identity: Identity) -> SignInResult:
    return await identity.sign_in(email="ada@example.com", password=PASSWORD, address="192.0.2.1")


@contextlib.asynccontextmanager
async def replica(url: str) -> AsyncIterator[Identity]:
    """An identity with a pool of its own, as in another process."""
    database = await open_database(url, pool_size=4)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        yield await stack.enter_async_context(identity_on(database))


async def until_waiting(database: Database, count: int) -> None:
    """Polls, because PostgreSQL sends no event when a session begins to wait."""
    async with patience(), database.read() as session:
        while await session.value(_WAITING) < count:  # noqa: ASYNC110 - see above
            await asyncio.sleep(0)


async def test_refresh_on_two_replicas_at_once_gives_one_successor(
    committed: Database, committed_url: str
) -> None:
    requests: list[asyncio.Task[SignInResult]] = []
    async with replica(committed_url) as here, replica(committed_url) as there:
        token = (await sign_up(here)).session.refresh_token

        async def all_at_once(session: Session) -> None:
            await session.rows(_LOCK)
            requests.extend(
                asyncio.create_task(identity.refresh(token)) for identity in (here, there) * 2
            )
            await until_waiting(committed, 2)  # a replica sends its second when the first returns

        await committed.transaction(all_at_once)
        answers = await asyncio.gather(*requests)
        assert len({answer.session.refresh_token for answer in answers}) == 1
        for answer in answers:
            await there.verifier.verify(answer.session.access_token)
        await here.refresh(answers[0].session.refresh_token)


async def test_refresh_repeated_within_grace_gives_same_successor(identity: Identity) -> None:
    token = (await sign_up(identity)).session.refresh_token
    first, again = await identity.refresh(token), await identity.refresh(token)
    assert first.session.refresh_token == again.session.refresh_token != token
    await identity.refresh(again.session.refresh_token)


async def test_refresh_repeated_after_grace_revokes_session(
    database: Database, identity: Identity
) -> None:
    token = (await sign_up(identity)).session.refresh_token
    latest = await identity.refresh(token)
    await database.write(lambda session: session.rows(_AGE, age=REUSE_GRACE))
    with pytest.raises(Unauthenticated):
        await identity.refresh(token)
    with pytest.raises(Unauthenticated):
        await identity.refresh(latest.session.refresh_token)
    with pytest.raises(Unauthenticated):
        await identity.verifier.verify(latest.session.access_token)


async def test_refresh_repeated_after_use_of_successor_revokes_session(identity: Identity) -> None:
    token = (await sign_up(identity)).session.refresh_token
    latest = await identity.refresh((await identity.refresh(token)).session.refresh_token)
    with pytest.raises(Unauthenticated):
        await identity.refresh(token)
    with pytest.raises(Unauthenticated):
        await identity.refresh(latest.session.refresh_token)


async def test_repeated_refresh_does_not_extend_grace(
    database: Database, identity: Identity
) -> None:
    token = (await sign_up(identity)).session.refresh_token
    await identity.refresh(token)
    await database.write(lambda session: session.rows(_AGE, age=REUSE_GRACE / 2))
    await identity.refresh(token)
    await database.write(lambda session: session.rows(_AGE, age=REUSE_GRACE / 2))
    with pytest.raises(Unauthenticated):
        await identity.refresh(token)


async def test_change_password_waits_for_concurrent_sign_in(
    committed: Database, committed_identity: Identity
) -> None:
    ada = await sign_up(committed_identity)
    changes: list[asyncio.Task[SignInResult]] = []

    async def sign_in_meanwhile(session: Session) -> SignInResult:
        users_hash = await session.value(_HASH, id=ada.user.id)
        opened = await committed_identity._insert_session(session, ada.user, users_hash)
        changes.append(
            asyncio.create_task(
                committed_identity.change_password(
                    ada.user.id,
                    current="correct horse battery",
                    new="another horse",
                    address="192.0.2.1",
                )
            )
        )
        await until_waiting(committed, 1)
        return opened

    overtaken = await committed.transaction(sign_in_meanwhile)
    await changes[0]
    async with committed.read() as session:
        live = await session.rows(_LIVE, owner=overtaken.user.id)
    assert len(live) == 1  # the one that the change has opened


async def test_sign_in_beyond_the_limit_ends_the_session_that_is_idle_longest(
    committed: Database, committed_identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_in_sessions, "MAX_SESSIONS", 2)
    identity = committed_identity
    used = await sign_up(identity)
    idle = await sign_in(identity)
    await committed.write(lambda session: session.rows(_REST))
    used = await identity.refresh(used.session.refresh_token)
    newest = await sign_in(identity)
    for kept in (used, newest):
        await identity.verifier.verify(kept.session.access_token)
        await identity.refresh(kept.session.refresh_token)
    with pytest.raises(Unauthenticated):
        await identity.verifier.verify(idle.session.access_token)
    with pytest.raises(Unauthenticated):
        await identity.refresh(idle.session.refresh_token)
    async with committed.read() as session:
        ended = await session.rows(_ENDED, owner=idle.user.id)
    assert [tuple(row) for row in ended] == [('{"reason":"LIMIT"}',)]


async def test_sessions_that_have_ended_are_removed_before_those_that_are_live(
    database: Database, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signing in and out again leaves no row behind for each time."""
    monkeypatch.setattr(sign_in_sessions, "MAX_SESSIONS", 3)
    first = await sign_up(identity)
    for _ in range(5):
        signed_in = await sign_in(identity)
        await identity.sign_out(signed_in.user.id, signed_in.session.refresh_token)
    await identity.verifier.verify(first.session.access_token)
    async with database.read() as session:
        assert await session.value(_COUNT, owner=first.user.id) == 3
        assert not await session.rows(_ENDED, owner=first.user.id)

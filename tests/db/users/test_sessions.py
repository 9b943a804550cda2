import asyncio

from sqlalchemy import text

from db.errors import Conflict
from db.postgres.engine import Database, Session
from db.postgres.statements import compile_statement
from db.users import Identity, SignInResult
from tests.fixtures.identity import sign_up

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


async def until_waiting(database: Database, count: int) -> None:
    """Polls, because PostgreSQL sends no event when a session begins to wait."""
    async with asyncio.timeout(20), database.read() as session:
        while await session.value(_WAITING) < count:  # noqa: ASYNC110 - see above
            await asyncio.sleep(0)


async def test_refresh_under_concurrency_has_one_winner(
    committed: Database, committed_identity: Identity
) -> None:
    token = (await sign_up(committed_identity)).session.refresh_token
    requests: list[asyncio.Task[SignInResult]] = []

    async def all_at_once(session: Session) -> None:
        await session.rows(_LOCK)
        requests.extend(asyncio.create_task(committed_identity.refresh(token)) for _ in range(4))
        await until_waiting(committed, 4)

    await committed.transaction(all_at_once)
    answers = await asyncio.gather(*requests, return_exceptions=True)
    (winner,) = [answer for answer in answers if isinstance(answer, SignInResult)]
    losers = [answer for answer in answers if isinstance(answer, Conflict)]
    assert [loser.field for loser in losers] == ["refreshToken"] * 3
    await committed_identity.verifier.verify(winner.session.access_token)
    await committed_identity.refresh(winner.session.refresh_token)


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

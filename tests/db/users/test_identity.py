import asyncio
import logging
from datetime import timedelta

import pytest
from sqlalchemy import text

from db.errors import (
    BadInput,
    Conflict,
    Forbidden,
    HowdahError,
    NotFound,
    RateLimited,
    Unauthenticated,
)
from db.kit.sweeps import sweep_all
from db.postgres.engine import Database
from db.postgres.statements import compile_change
from db.users import LOCAL_ADMIN, Attempts, Identity, Role, SignInResult, UnscopedSessions, Users
from tests.fixtures.database import Statements
from tests.fixtures.identity import PASSWORD, identity_on, sign_up

HERE = "192.0.2.1"
_AGE = compile_change(text("UPDATE sessions SET expires_at = expires_at - CAST(:age AS interval)"))


async def sign_in(
    identity: Identity,
    email: str = "ada@example.com",
    password: str = PASSWORD,
    address: str = HERE,
) -> SignInResult:
    return await identity.sign_in(email=email, password=password, address=address)


async def works(identity: Identity, signed_in: SignInResult) -> bool:
    try:
        await identity.verifier.verify(signed_in.session.access_token)
    except Unauthenticated:
        return False
    return True


async def test_sign_up_signs_in_and_allows_later_sign_in(identity: Identity) -> None:
    new = await sign_up(identity, "  Ada@Example.COM ")
    assert (new.user.email, new.user.name, new.user.role) == ("ada@example.com", "Ada", "USER")
    again = await sign_in(identity, "ADA@example.com")
    assert again.user == new.user
    for signed_in in (new, again):
        verified = await identity.verifier.verify(signed_in.session.access_token)
        assert (verified.user_id, verified.role) == (new.user.id, "USER")
        assert verified.expires_at == signed_in.session.expires_at


async def test_sign_up_refuses_equivalent_email(identity: Identity) -> None:
    await sign_up(identity)
    with pytest.raises(Conflict) as caught:
        await sign_up(identity, "ADA@EXAMPLE.com")
    assert caught.value.field == "email"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", ""),
        ("email", "ada"),
        ("email", "ada@localhost"),
        ("email", "a da@example.com"),
        ("email", "ada@@example.com"),
        ("email", "ada@-example.com"),
        ("email", "a" * 250 + "@example.com"),
        ("email", "ada\0@example.com"),
        ("email", LOCAL_ADMIN),
        ("password", "short"),
        ("password", "x" * 1025),
        ("password", "\N{ELEPHANT}" * 257),
        ("name", "   "),
        ("name", "x" * 101),
    ],
)
async def test_sign_up_error_has_field_and_hint(identity: Identity, field: str, value: str) -> None:
    given = {"email": "ada@example.com", "password": PASSWORD, "name": "Ada"} | {field: value}
    with pytest.raises(BadInput) as caught:
        await identity.sign_up(**given, address=HERE)
    assert caught.value.field == field
    assert caught.value.hint


async def test_sign_up_can_be_closed(database: Database) -> None:
    async with identity_on(database, sign_up="closed") as closed:
        with pytest.raises(Forbidden) as caught:
            await sign_up(closed)
    assert "operator" in caught.value.hint


async def test_sign_in_error_is_equal_for_wrong_password_and_unknown_user(
    identity: Identity, statements: Statements
) -> None:
    await sign_up(identity)
    answers = []
    for email, password in (("ada@example.com", "wrong horse"), ("bob@example.com", PASSWORD)):
        before = len(statements)
        with pytest.raises(Unauthenticated) as caught:
            await sign_in(identity, email, password)
        answers.append((caught.value.message, caught.value.hint, statements[before:]))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("password", ["x", "x" * 2000])
async def test_sign_in_with_impossible_password_is_refused_as_with_a_wrong_one(
    identity: Identity, password: str
) -> None:
    await sign_up(identity)
    with pytest.raises(Unauthenticated, match=r"address or the password is wrong"):
        await sign_in(identity, "ada@example.com", password)


async def test_sign_in_is_limited_per_account(
    identity: Identity,
) -> None:
    await sign_up(identity)
    await sign_up(identity, "bob@example.com")
    for _ in range(3):
        await sign_in(identity)  # a successful attempt is not counted
    for number in range(10):
        with pytest.raises(Unauthenticated):
            await sign_in(identity, password="wrong horse", address=f"192.0.2.{number}")
    with pytest.raises(RateLimited, match="too many wrong passwords") as caught:
        await sign_in(identity)
    assert caught.value.retry_after_s is not None
    assert 0 < caught.value.retry_after_s <= 300
    await sign_in(identity, "bob@example.com")


async def test_sign_in_is_limited_per_address(identity: Identity) -> None:
    await sign_up(identity)
    for number in range(100):
        with pytest.raises(Unauthenticated):
            await sign_in(identity, f"nobody{number}@example.com", address=f"2001:db8::{number:x}")
    with pytest.raises(RateLimited):
        await sign_in(identity, address="2001:db8::ffff:1")  # of the same /64
    await sign_in(identity, address="2001:db8:0:1::1")


async def test_sign_in_limits_are_shared_by_replicas(committed: Database) -> None:
    async with identity_on(committed) as one, identity_on(committed) as other:
        await sign_up(one)
        attempts = [
            sign_in((one, other)[number % 2], password="wrong horse") for number in range(30)
        ]
        answers = await asyncio.gather(*attempts, return_exceptions=True)
    assert sum(isinstance(answer, Unauthenticated) for answer in answers) == 10
    assert sum(isinstance(answer, RateLimited) for answer in answers) == 20


async def test_sign_up_is_limited_per_address(identity: Identity) -> None:
    for number in range(20):
        await sign_up(identity, f"user{number}@example.com")
    with pytest.raises(RateLimited, match="sign-ups from this network"):
        await sign_up(identity)


async def test_refresh_rotates_tokens_of_session(identity: Identity) -> None:
    first = await sign_up(identity)
    second = await identity.refresh(first.session.refresh_token)
    third = await identity.refresh(second.session.refresh_token)
    assert third.user == first.user
    assert len({s.session.refresh_token for s in (first, second, third)}) == 3
    assert await works(identity, third)


async def test_refresh_with_reused_token_revokes_only_its_session(
    identity: Identity,
) -> None:
    first = await sign_up(identity)
    other = await sign_in(identity)
    second = await identity.refresh(first.session.refresh_token)
    third = await identity.refresh(second.session.refresh_token)
    with pytest.raises(Unauthenticated):
        await identity.refresh(first.session.refresh_token)
    with pytest.raises(Unauthenticated):
        await identity.refresh(third.session.refresh_token)
    assert not await works(identity, third)
    assert await works(identity, other)
    await identity.refresh(other.session.refresh_token)


async def test_refresh_with_invalid_token_ends_nothing(identity: Identity) -> None:
    first = await sign_up(identity)
    token = first.session.refresh_token
    forged = token[:30] + ("A" if token[30] != "A" else "B") + token[31:]
    for wrong in ("", "x", token[:-4], "é" + token, forged, first.session.access_token):
        with pytest.raises(Unauthenticated):
            await identity.refresh(wrong)
    await identity.refresh(token)


async def test_sign_out_ends_one_session_at_once(identity: Identity) -> None:
    first = await sign_up(identity)
    other = await sign_in(identity)
    assert await works(identity, first)
    await identity.sign_out(first.user.id, first.session.refresh_token)
    await identity.sign_out(first.user.id, first.session.refresh_token)  # twice is no error
    assert not await works(identity, first)
    assert await works(identity, other)
    with pytest.raises(Unauthenticated):
        await identity.refresh(first.session.refresh_token)


async def test_sign_out_of_other_user_is_refused(identity: Identity) -> None:
    ada = await sign_up(identity)
    bob = await sign_up(identity, "bob@example.com")
    for token in (ada.session.refresh_token, "nonsense"):
        with pytest.raises(BadInput) as caught:
            await identity.sign_out(bob.user.id, token)
        assert caught.value.field == "refreshToken"
    assert await works(identity, ada)


async def test_change_password_ends_other_sessions(identity: Identity) -> None:
    first = await sign_up(identity)
    other = await sign_in(identity)
    assert await works(identity, other)
    changed = await identity.change_password(
        first.user.id, current=PASSWORD, new="another horse", address=HERE
    )
    assert await works(identity, changed)
    for old in (first, other):
        assert not await works(identity, old)
        with pytest.raises(Unauthenticated):
            await identity.refresh(old.session.refresh_token)
    with pytest.raises(Unauthenticated):
        await sign_in(identity)
    await sign_in(identity, password="another horse")


async def test_change_password_counts_wrong_current_password(
    identity: Identity,
) -> None:
    ada = await sign_up(identity)

    async def change(current: str) -> None:
        await identity.change_password(
            ada.user.id, current=current, new="another horse", address=HERE
        )

    for _ in range(10):
        with pytest.raises(BadInput) as caught:
            await change("wrong horse")
        assert caught.value.field == "currentPassword"
    with pytest.raises(RateLimited):
        await change(PASSWORD)


@pytest.mark.parametrize("current", ["", "short", "x" * 1025])
async def test_change_password_says_that_a_current_password_of_impossible_length_is_wrong(
    identity: Identity, current: str
) -> None:
    ada = await sign_up(identity)
    with pytest.raises(BadInput, match="not the current password") as caught:
        await identity.change_password(
            ada.user.id, current=current, new="another horse", address=HERE
        )
    assert caught.value.field == "currentPassword"


async def test_sign_in_during_change_of_password_leaves_no_session(
    identity: Identity, database: Database
) -> None:
    ada = await sign_up(identity)
    async with database.read() as session:
        found = await Users(session).with_password(ada.user.id)
    assert found is not None
    await identity.change_password(ada.user.id, current=PASSWORD, new="another horse", address=HERE)
    with pytest.raises(Unauthenticated):
        await database.write(lambda session: identity._insert_session(session, ada.user, found[1]))


async def test_removed_user_loses_sessions(identity: Identity, database: Database) -> None:
    ada = await sign_up(identity)
    assert await database.transaction(lambda session: Users(session).remove(ada.user.id))
    assert not await works(identity, ada)
    with pytest.raises(Unauthenticated):
        await sign_in(identity)
    with pytest.raises(NotFound):
        await identity.issue(ada.user)


async def test_issued_token_is_equal_to_sign_in(identity: Identity) -> None:
    admin = await identity.create(
        email="root@example.com", password=PASSWORD, name="Root", role=Role.ADMIN
    )
    verified = await identity.verifier.verify(await identity.issue(admin))
    assert (verified.user_id, verified.role) == (admin.id, "ADMIN")


async def test_local_admin_is_created_once_without_password(identity: Identity) -> None:
    admin = await identity.local_admin()
    assert (admin.email, admin.role) == (LOCAL_ADMIN, "ADMIN")
    assert await identity.local_admin() == admin
    with pytest.raises(Unauthenticated):
        await sign_in(identity, LOCAL_ADMIN)
    with pytest.raises(Forbidden):
        await identity.change_password(admin.id, current=PASSWORD, new=PASSWORD, address=HERE)


async def test_verified_token_is_cached(identity: Identity, statements: Statements) -> None:
    ada = await sign_up(identity)
    with statements.expected(1):
        for _ in range(5):
            await works(identity, ada)


async def test_secrets_are_not_logged_or_shown(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    canary = "canary-7f3a91-password"
    ada = await identity.sign_up(email="ada@example.com", password=canary, name="Ada", address=HERE)
    shown = [repr(ada), repr(identity), repr(identity.__dict__)]
    tokens = [ada.session.access_token, ada.session.refresh_token]
    for wrong in (
        sign_in(identity, password=canary + "!"),
        identity.refresh(tokens[0]),
        identity.verifier.verify(tokens[1]),
        identity.verifier.verify(tokens[0] + "x"),
        sign_in(identity, password=canary * 100),
    ):
        with pytest.raises(HowdahError) as caught:
            await wrong
        shown += [repr(caught.value), caught.value.hint]
    everything = "\n".join(shown) + caplog.text
    assert "rejected" in caplog.text
    for secret in (canary, *tokens, tokens[0].split(".")[2]):
        assert secret not in everything


async def test_session_expires(database: Database) -> None:
    async with identity_on(database, refresh_token_days=1) as identity:
        ada = await sign_up(identity)
        assert await works(identity, ada)
        await database.write(lambda session: session.rows(_AGE, age=timedelta(days=2)))
        await identity.access.announce(ada.user.id)
        assert not await works(identity, ada)
        with pytest.raises(Unauthenticated):
            await identity.refresh(ada.session.refresh_token)
        sweeps = {
            "sessions": lambda: database.write(lambda session: UnscopedSessions(session).sweep()),
            "attempts": lambda: database.write(lambda session: Attempts(session).sweep()),
        }
        assert await sweep_all(sweeps) == {"sessions": 1, "attempts": 0}

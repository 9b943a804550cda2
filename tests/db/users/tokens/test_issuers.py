import asyncio
import hmac
import json
import ssl
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from db.errors import BadInput, Unauthenticated, Unavailable
from db.postgres.engine import Database
from db.settings import Settings
from db.users import Identity, UserRow, Users
from db.users.tokens.issuers import ExternalIssuer
from db.users.tokens.key_sets import MAX_BYTES, KeySet
from tests.fixtures.identity import identity_on, sign_up
from tests.fixtures.issuer import AUDIENCE, NAME, Issuer, Key, by_hand, claims, signed

RSA = RSAKey.generate_key(2048)
EC = ECKey.generate_key("P-256")
ED = OKPKey.generate_key("Ed25519")
SHARED = "Zr8kq1vN0tY6bWc3pXs5dLf7gHj9mAe2uQi4oRz-"


class Clock:
    """A clock that the test advances."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def trusting(database: Database, issuer: Issuer) -> AsyncIterator[Identity]:
    issuer.publish(RSA, EC, ED)
    async with trusting_on(database, issuer) as identity:
        yield identity


def trusting_on(database: Database, issuer: Issuer, **settings: Any) -> Any:
    given = {"jwks_url": issuer.url, "jwt_issuer": NAME, "jwt_audience": AUDIENCE} | settings
    return identity_on(database, tls=issuer.trusted, **given)


async def user_of(identity: Identity, database: Database, token: str) -> UserRow | None:
    verified = await identity.verifier.verify(token)
    async with database.read() as session:
        return await Users(session).by_id(verified.user_id)


@pytest.mark.parametrize(
    ("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256"), (ED, "EdDSA"), (ED, "Ed25519")]
)
async def test_external_token_creates_user_on_first_use(
    trusting: Identity, database: Database, key: Key, algorithm: str
) -> None:
    said = claims(name="Ada", email="ADA@example.com", email_verified=True)
    user = await user_of(trusting, database, signed(key, algorithm, said))
    assert user is not None
    assert (user.name, user.email, user.role) == ("Ada", "ada@example.com", "USER")
    again = await user_of(trusting, database, signed(key, algorithm, claims(name="Other")))
    assert again == user


@pytest.mark.parametrize(
    ("said", "name", "email"),
    [
        ({}, "Unnamed user", None),
        ({"preferred_username": "ada"}, "ada", None),
        ({"name": 5, "preferred_username": ["x"], "email": {}}, "Unnamed user", None),
        ({"name": "x" * 101, "email": "ada@example.com"}, "Unnamed user", None),
        ({"email": "ada@example.com", "email_verified": "true"}, "Unnamed user", None),
        ({"email": "no address", "email_verified": True}, "Unnamed user", None),
    ],
)
async def test_external_claims_are_sanitised(
    trusting: Identity, database: Database, said: dict[str, Any], name: str, email: str | None
) -> None:
    user = await user_of(trusting, database, signed(RSA, "RS256", claims(**said)))
    assert user is not None
    assert (user.name, user.email) == (name, email)


async def test_external_verified_email_opens_no_own_account(
    trusting: Identity, database: Database
) -> None:
    ours = await sign_up(trusting, "ada@example.com")
    said = claims(email="ada@example.com", email_verified=True)
    user = await user_of(trusting, database, signed(RSA, "RS256", said))
    assert user is not None
    assert user.id != ours.user.id


async def test_external_token_of_removed_user_is_refused(
    trusting: Identity, database: Database
) -> None:
    user = await user_of(trusting, database, signed(RSA, "RS256"))
    assert user is not None
    await database.transaction(lambda session: Users(session).remove(user.id))
    await trusting.access.announce(user.id)
    with pytest.raises(Unauthenticated):
        await trusting.verifier.verify(signed(RSA, "RS256", claims(jti="another")))


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example.com/"},
        {"iss": None},
        {"iss": "howdah"},
        {"aud": "another audience"},
        {"aud": None},
        {"aud": ["one", "other"]},
        {"aud": {"howdah-tests": 1}},
        {"exp": 1},
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": 1e300},
        {"nbf": 32_503_680_000},
        {"sub": None},
        {"sub": ""},
        {"sub": 5},
        {"sub": "x" * 256},
    ],
)
async def test_external_claims_are_validated(trusting: Identity, changes: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        await trusting.verifier.verify(signed(RSA, "RS256", claims(**changes)))


async def test_audience_may_be_one_of_several(trusting: Identity) -> None:
    await trusting.verifier.verify(signed(RSA, "RS256", claims(aud=["other", AUDIENCE])))


async def test_key_is_used_with_its_own_algorithm_only(
    trusting: Identity,
) -> None:
    """The public key as a shared secret, in every form that a library may accept."""
    header = {"alg": "HS256", "kid": RSA.thumbprint()}
    for secret in (
        RSA.as_pem(private=False),
        RSA.as_der(private=False),
        json.dumps(RSA.as_dict(private=False)).encode(),
    ):
        confused = by_hand(header, None, partial(hmac.digest, secret, digest="sha256"))
        with pytest.raises(Unauthenticated):
            await trusting.verifier.verify(confused)
    for algorithm in ("RS512", "PS256"):
        with pytest.raises(Unauthenticated):
            await trusting.verifier.verify(signed(RSA, algorithm))


async def test_header_references_are_not_followed(trusting: Identity, issuer: Issuer) -> None:
    own = RSAKey.generate_key(2048)
    jwk = own.as_dict(private=False)
    there = issuer.url.replace("/keys", "/elsewhere")
    for header in (
        {"jwk": jwk},
        {"jku": there},
        {"x5u": there},
        {"x5c": ["MIIB"]},
        {"kid": there},
        {"kid": "../../etc/passwd"},
        {"kid": "' OR 1=1 --"},
    ):
        with pytest.raises(Unauthenticated):
            await trusting.verifier.verify(signed(own, "RS256", **header))
    with pytest.raises(Unauthenticated):
        await trusting.verifier.verify(signed(RSA, "RS256", crit=["exp"], exp=1))
    assert set(issuer.asked) == {"/keys"}


async def test_header_with_unknown_parameters_is_accepted(trusting: Identity) -> None:
    await trusting.verifier.verify(signed(RSA, "RS256", x5t="abc", nonce="n", typ="at+jwt"))


async def test_algorithms_are_limited_by_settings(database: Database, issuer: Issuer) -> None:
    issuer.publish(RSA, EC)
    async with trusting_on(database, issuer, jwt_algorithms="ES256") as identity:
        await identity.verifier.verify(signed(EC, "ES256"))
        with pytest.raises(Unauthenticated):
            await identity.verifier.verify(signed(RSA, "RS256"))


async def test_shared_secret_verifies_tokens(database: Database) -> None:
    key = OctKey.import_key(SHARED)
    async with identity_on(database, jwt_secret=SHARED) as identity:
        anybody = await identity.verifier.verify(signed(key, "HS256", claims(iss=None)))
        same = await identity.verifier.verify(signed(key, "HS256", claims(aud=None)))
        assert anybody.user_id == same.user_id
        for wrong in (
            signed(OctKey.import_key(SHARED[::-1]), "HS256"),
            signed(key, "HS512"),
            signed(RSA, "RS256"),
        ):
            with pytest.raises(Unauthenticated):
                await identity.verifier.verify(wrong)


async def test_shared_secret_does_not_verify_own_tokens(database: Database) -> None:
    async with identity_on(database, jwt_secret=SHARED) as identity:
        forged = claims(iss="howdah", aud="howdah", sid=claims()["sub"])
        with pytest.raises(Unauthenticated):
            await identity.verifier.verify(signed(OctKey.import_key(SHARED), "HS256", forged))


@pytest.mark.parametrize(
    "settings",
    [
        {"jwt_secret": "too short"},
        {"jwt_secret": "secret" * 6},
        {"jwt_secret": SHARED, "jwt_algorithms": "HS256,none"},
        {"jwt_secret": SHARED, "jwt_algorithms": "RS256"},
        {"jwks_url": "https://x.example/", "jwt_issuer": "a", "jwt_algorithms": "HS256"},
        {"jwks_url": "https://x.example/", "jwt_issuer": "howdah"},
    ],
)
def test_issuer_settings_that_are_unsafe_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(BadInput) as caught:
        ExternalIssuer.of(Settings(**settings))
    assert SHARED not in caught.value.message
    assert caught.value.hint


async def test_external_token_without_issuer_is_refused(identity: Identity) -> None:
    with pytest.raises(Unauthenticated):
        await identity.verifier.verify(signed(RSA, "RS256"))


# The set of keys


@pytest.mark.parametrize(
    ("key", "members"),
    [
        (RSA, {"use": "enc"}),
        (RSA, {"use": None}),
        (RSA, {"use": None, "key_ops": ["encrypt"]}),
        (RSA, {"alg": "RS512"}),
        (RSA, {"n": "AQAB"}),
        (RSA, {"n": 5}),
        (RSA, {"n": RSA.as_dict()["n"][:171]}),  # 1024 bits
        (ECKey.generate_key("P-384"), {}),
        (OKPKey.generate_key("Ed448"), {}),
        (OctKey.generate_key(256), {"k": "c2VjcmV0"}),
    ],
)
async def test_key_set_ignores_weak_and_unrelated_keys(
    issuer: Issuer, key: Key, members: dict[str, Any]
) -> None:
    issuer.publish(key, **members)
    bad = issuer.keys
    issuer.publish(EC)
    issuer.keys = bad + issuer.keys
    found = await KeySet(issuer.url, tls=issuer.trusted).matching(None)
    assert [each.algorithms for each in found] == [("ES256",)]


async def test_key_set_is_fetched_once_until_stale(issuer: Issuer) -> None:
    clock = Clock()
    issuer.publish(RSA)
    keys = KeySet(issuer.url, tls=issuer.trusted, clock=clock)
    await asyncio.gather(*(keys.matching(RSA.thumbprint()) for _ in range(5)))
    assert len(issuer.asked) == 1
    clock.now = 601
    issuer.publish(EC)
    assert await keys.matching(RSA.thumbprint()) == []  # it was withdrawn
    assert len(issuer.asked) == 2


async def test_key_set_limits_fetches_for_unknown_key(issuer: Issuer) -> None:
    clock = Clock()
    issuer.publish(RSA)
    keys = KeySet(issuer.url, tls=issuer.trusted, clock=clock)
    await keys.matching(None)
    issuer.publish(RSA, EC)
    for _ in range(50):
        assert await keys.matching(EC.thumbprint()) == []
    assert len(issuer.asked) == 1
    clock.now = 30
    assert len(await keys.matching(EC.thumbprint())) == 1
    assert len(issuer.asked) == 2


async def test_fetch_of_keys_outlives_the_request_that_began_it(issuer: Issuer) -> None:
    issuer.publish(RSA)
    keys = KeySet(issuer.url, tls=issuer.trusted, clock=Clock())
    first = asyncio.create_task(keys.matching(None))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    assert len(await keys.matching(None)) == 1
    assert len(issuer.asked) == 1


async def test_key_set_is_used_while_issuer_is_down(issuer: Issuer) -> None:
    clock = Clock()
    issuer.publish(RSA)
    keys = KeySet(issuer.url, tls=issuer.trusted, clock=clock)
    await keys.matching(None)
    await issuer.stop()
    clock.now = 10_000
    assert len(await keys.matching(RSA.thumbprint())) == 1
    await issuer.start()
    issuer.publish(EC)
    clock.now += 30
    assert len(await keys.matching(EC.thumbprint())) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n<xml>",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[1, 2, 3]",
    ],
)
async def test_key_set_ignores_malformed_response(issuer: Issuer, answer: bytes) -> None:
    issuer.answer = answer
    keys = KeySet(issuer.url, tls=issuer.trusted)
    with pytest.raises(Unavailable) as caught:
        await keys.matching(None)
    assert caught.value.retry_after_s
    assert issuer.asked == ["/keys"]


async def test_key_set_limits_the_size_of_the_response(issuer: Issuer) -> None:
    issuer.publish(EC)
    document = json.dumps({"keys": issuer.keys}).encode()

    async def found(size: int) -> int:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
        issuer.answer = head + document.ljust(size)
        return len(await KeySet(issuer.url, tls=issuer.trusted).matching(None))

    assert await found(MAX_BYTES) == 1
    with pytest.raises(Unavailable):
        await found(MAX_BYTES + 1)


async def test_key_set_requires_trusted_certificate(issuer: Issuer) -> None:
    issuer.publish(RSA)
    with pytest.raises(Unavailable):
        await KeySet(issuer.url, tls=ssl.create_default_context()).matching(None)
    assert issuer.asked == []

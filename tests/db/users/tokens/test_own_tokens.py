import base64
import hashlib
import hmac
import json
import logging
import time
from typing import Any

import pytest

from db.errors import Unauthenticated
from db.kit.base import new_id
from db.users import Identity, SignInResult
from db.users.tokens.own_tokens import AccessTokens, RefreshTokens
from db.users.tokens.unverified_claims import InvalidToken
from tests.fixtures.identity import SECRET, sign_up

KEY = SECRET.derive("access tokens")


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forged(header: Any, said: Any, key: bytes = KEY, digest: str = "sha256") -> str:
    """Builds a token from its parts, so that any of them can be invalid."""
    body = f"{part(header)}.{part(said)}"
    return f"{body}.{part(hmac.digest(key, body.encode(), digest))}"


def said_by(signed_in: SignInResult) -> dict[str, Any]:
    payload = signed_in.session.access_token.split(".")[1]
    said: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return said


HEADER = {"alg": "HS256", "typ": "JWT"}


async def refused(identity: Identity, token: str) -> None:
    """Every invalid token gives the same error."""
    with pytest.raises(Unauthenticated) as caught:
        await identity.verifier.verify(token)
    assert caught.value.message == "This session is invalid or has ended."


async def test_access_token_built_from_its_parts_is_accepted(
    identity: Identity,
) -> None:
    ada = await sign_up(identity)
    verified = await identity.verifier.verify(forged(HEADER, said_by(ada)))
    assert verified.user_id == ada.user.id


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "None"},
        {"alg": "HS512"},
        {"alg": "RS256"},
        {"alg": ["HS256"]},
        {"alg": None},
        {},
        [],
        "HS256",
        {"alg": "HS256", "crit": ["exp"], "exp": 1},
        {"alg": "HS256", "crit": []},
        {"alg": "HS256", "crit": 5},
        {"alg": "HS256", "b64": False, "crit": ["b64"]},
        {"alg": "HS256", "kid": 5},
        {"alg": "HS256", "typ": "JWT", "kid": "ours"},
        {"typ": "JWT", "alg": "HS256"},
        {"alg": "HS256", "jwk": "not a key"},
    ],
)
async def test_access_token_with_other_header_is_refused(identity: Identity, header: Any) -> None:
    ada = await sign_up(identity)
    await refused(identity, forged(header, said_by(ada)))
    await refused(identity, forged(header, said_by(ada), digest="sha512"))
    body = f"{part(header)}.{part(said_by(ada))}."
    await refused(identity, body)


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": int(time.time()) - 1},
        {"exp": None},
        {"exp": "9999999999"},
        {"exp": -1},
        {"exp": 10**30},
        {"sub": None},
        {"sub": "nobody"},
        {"sub": str(new_id())},
        {"sid": None},
        {"sid": str(new_id())},
        {"aud": "another audience"},
        {"aud": ["howdah"]},
        {"iss": "another issuer"},
        {"iss": None},
    ],
)
async def test_access_token_claims_are_validated(
    identity: Identity, changes: dict[str, Any]
) -> None:
    said = said_by(await sign_up(identity)) | changes
    await refused(
        identity, forged(HEADER, {name: value for name, value in said.items() if value is not None})
    )


async def test_access_token_key_in_header_is_ignored(identity: Identity) -> None:
    ada = await sign_up(identity)
    own = b"o" * 32
    jwk = {"kty": "oct", "k": part(own)}
    for header in (HEADER, HEADER | {"jwk": jwk}, HEADER | {"kid": "/dev/null"}):
        await refused(identity, forged(header, said_by(ada), key=own))
        await refused(identity, forged(header, said_by(ada), key=b""))


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "....",
        "a.b.c",
        "é.é.é",
        "\ud800",
        "x" * 9_000,
        "x" * 3_000 + "." + "x" * 3_000 + "." + "x" * 3_000,
        part(b"[" * 3_000) + "." + part({}) + ".x",
        part(HEADER) + "." + part(b"[" * 3_000) + ".x",
        part(HEADER) + "." + part(b"\xff\xfe") + ".x",
        part(HEADER) + ".e30\n.x",
    ],
)
async def test_malformed_token_is_refused(identity: Identity, token: str) -> None:
    await refused(identity, token)


async def test_modified_token_is_refused(identity: Identity) -> None:
    ada, bob = await sign_up(identity), await sign_up(identity, "bob@example.com")
    header, payload, signature = ada.session.access_token.split(".")
    theirs = bob.session.access_token.split(".")
    for token in (
        f"{header}.{theirs[1]}.{signature}",
        f"{header}.{payload}.{theirs[2]}",
        f"{header}.{payload}.",
        f"{header}.{payload}.{signature[:-2]}",
    ):
        await refused(identity, token)


async def test_refusal_is_logged_without_token(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    token = forged(HEADER, said_by(await sign_up(identity)) | {"exp": 1})
    await refused(identity, token)
    assert "it has expired" in caplog.text
    assert token not in caplog.text
    assert token.split(".")[1] not in caplog.text


def test_access_token_of_other_key_is_refused() -> None:
    token, _ = AccessTokens(b"a" * 32).make(new_id(), new_id(), seconds=60)
    with pytest.raises(InvalidToken):
        AccessTokens(b"b" * 32).verify(token)


def test_refresh_token_contains_session_and_is_stored_as_hash() -> None:
    tokens = RefreshTokens(b"k" * 32)
    session_id = new_id()
    token, token_hash = tokens.make(session_id)
    opened = tokens.open(token)
    assert (opened.session_id, opened.hash) == (session_id, token_hash)
    assert "raw" not in repr(opened)

    assert token_hash == hashlib.sha256(base64.urlsafe_b64decode(token)).digest()
    assert tokens.make(session_id)[0] != token
    with pytest.raises(InvalidToken):
        RefreshTokens(b"other" * 8).open(token)


def test_successor_depends_on_key_nonce_and_token() -> None:
    tokens, other_key = RefreshTokens(b"k" * 32), RefreshTokens(b"l" * 32)
    one, other = (tokens.open(tokens.make(new_id())[0]) for _ in range(2))
    successor, successor_hash = tokens.successor(one, b"nonce")
    assert (successor, successor_hash) == tokens.successor(one, b"nonce")
    assert tokens.open(successor).hash == successor_hash
    different = {
        tokens.successor(one, b"other"),
        tokens.successor(other, b"nonce"),
        other_key.successor(one, b"nonce"),
    }
    assert len(different | {(successor, successor_hash)}) == 4

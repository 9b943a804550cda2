"""What a token of an external issuer can do: nothing without audience, claim and sign-up."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from joserfc.jwk import OctKey

from db.errors import Unauthenticated
from db.postgres.engine import Database
from db.services import Services
from db.settings import Settings
from db.users import Identity
from tests.fixtures.identity import identity_on
from tests.fixtures.issuer import AUDIENCE, claims, signed
from tests.graph.commands.test_cli import howdah
from tests.security.test_local_sign_in import calling

SHARED = "Zr8kq1vN0tY6bWc3pXs5dLf7gHj9mAe2uQi4oRz-"
KEY = OctKey.import_key(SHARED)


def token(**said: Any) -> str:
    return signed(KEY, "HS256", claims(**said))


@asynccontextmanager
async def trusting(database: Database, **settings: Any) -> AsyncIterator[Identity]:
    given = {"jwt_secret": SHARED, "jwt_audience": AUDIENCE} | settings
    async with identity_on(database, **given) as identity:
        yield identity


@pytest.mark.parametrize(
    "subject",
    ["a\0b", "a\nb", "", "x" * 256, "\ud800", 5, None, ["x"], {}, True],
    ids=["nul", "control", "empty", "long", "surrogate", "int", "absent", "list", "map", "bool"],
)
async def test_subject_that_cannot_be_stored_is_401(
    services: Services, database: Database, subject: Any
) -> None:
    async with trusting(database) as identity:
        changed = _with_identity(services, identity)
        async with calling(changed) as http:
            refused = await _ask(http, token(sub=subject))
            assert refused.status_code == 401, refused.text
            assert (await _ask(http, token(sub="ü" * 255))).status_code == 200


@pytest.mark.parametrize(
    ("required", "said", "accepted"),
    [
        ("groups=howdah", {"groups": ["other", "howdah"]}, True),
        ("groups=howdah", {"groups": "howdah"}, True),
        ("groups=howdah", {"groups": ["howdah-admins"]}, False),
        ("groups=howdah", {"groups": "howdah other"}, False),
        ("groups=howdah", {"groups": {"howdah": 1}}, False),
        ("groups=howdah", {}, False),
        ("scope=howdah", {"scope": "openid howdah"}, True),
        ("scope=howdah", {"scope": "openid howdah2"}, False),
        ("https://example.com/roles=dba", {"https://example.com/roles": ["dba"]}, True),
    ],
)
async def test_required_claim_decides(
    database: Database, required: str, said: dict[str, Any], *, accepted: bool
) -> None:
    async with trusting(database, jwt_required_claim=required) as identity:
        if accepted:
            await identity.verifier.verify(token(**said))
        else:
            with pytest.raises(Unauthenticated):
                await identity.verifier.verify(token(**said))


@pytest.mark.parametrize(
    ("env", "sign_up", "admitted"),
    [
        ("production", None, True),
        ("production", "issuer", True),
        ("production", "closed", False),
        ("development", "closed", False),
        ("development", None, True),
    ],
)
async def test_new_users_of_the_issuer_need_open_sign_up(
    database: Database, env: str, sign_up: str | None, *, admitted: bool
) -> None:
    async with trusting(database) as identity:
        known = await identity.verifier.verify(token(sub="known"))
    async with trusting(database, env=env, sign_up=sign_up) as identity:
        assert (await identity.verifier.verify(token(sub="known"))).user_id == known.user_id
        if admitted:
            await identity.verifier.verify(token(sub="new"))
        else:
            with pytest.raises(Unauthenticated, match="has no account"):
                await identity.verifier.verify(token(sub="new"))


def test_issuer_admits_no_password_sign_up() -> None:
    assert not Settings(sign_up="issuer").sign_up_open
    assert not Settings(env="production").sign_up_open


@pytest.mark.parametrize("command", ["doctor", "serve"])
async def test_issuer_without_audience_does_not_start(command: str) -> None:
    code, output, errors = await howdah(command, HOWDAH_JWT_SECRET=SHARED)
    assert code != 0
    assert "HOWDAH_JWT_AUDIENCE" in output + errors


def _with_identity(services: Services, identity: Identity) -> Services:
    values = {name: getattr(services, name) for name in Services.__dataclass_fields__}
    return Services(**(values | {"identity": identity}))


async def _ask(http: httpx.AsyncClient, bearer: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {bearer}"}
    return await http.post("/graphql", json={"query": "{ viewer { id } }"}, headers=headers)

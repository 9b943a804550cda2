from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import httpx
import pytest
from starlette.applications import Starlette
from websockets.exceptions import ConnectionClosed

from db.errors import Unavailable
from db.kit.base import new_id
from db.services import Services
from db.users.tokens.own_tokens import AccessTokens
from graph.kit.ids import id_of
from graph.users.inputs import ChangePasswordInput, SignInInput
from tests.fixtures.clients import Client, Response
from tests.fixtures.identity import PASSWORD
from tests.fixtures.toy import Clock
from tests.graph.tasks.test_tasks import followed

SIGN_UP = """mutation ($input: SignUpInput!) {
  signUp(input: $input) {
    session { accessToken refreshToken expiresAt } user { id email name role createdAt }
  }
}"""
SIGN_IN = """mutation ($input: SignInInput!) {
  signIn(input: $input) { session { accessToken refreshToken } user { id } }
}"""
REFRESH = """mutation ($input: RefreshSessionInput!) {
  refreshSession(input: $input) { session { accessToken refreshToken } user { id } }
}"""
SIGN_OUT = "mutation ($input: SignOutInput!) { signOut(input: $input) { signedOut } }"
CHANGE = """mutation ($input: ChangePasswordInput!) {
  changePassword(input: $input) { session { accessToken refreshToken } user { id } }
}"""
VIEWER = "{ viewer { id email name role createdAt } }"

NEW = {"email": "Eve@example.com", "password": PASSWORD, "name": "Eve"}


class Person(Client):
    """A user who signed up through the API."""

    refresh_token: str
    id: str

    @classmethod
    async def sign_up(cls, app: Starlette, http: httpx.AsyncClient, **changes: Any) -> "Person":
        person = cls(app, http, None, "")
        person.take((await person.ask(SIGN_UP, input=NEW | changes))["signUp"])
        return person

    def take(self, payload: dict[str, Any]) -> None:
        self.token = payload["session"]["accessToken"]
        self.refresh_token = payload["session"]["refreshToken"]
        self.id = payload["user"]["id"]


@pytest.fixture
async def eve(app: Starlette, http: httpx.AsyncClient) -> Person:
    return await Person.sign_up(app, http)


def errors_of(response: Response) -> dict[str, Any]:
    extensions: dict[str, Any] = response.errors[0]["extensions"]
    return extensions


async def test_sign_up_returns_viewer(eve: Person) -> None:
    viewer = (await eve.ask(VIEWER))["viewer"]
    assert viewer.pop("createdAt").endswith("+00:00")
    assert viewer == {"id": eve.id, "email": "eve@example.com", "name": "Eve", "role": "USER"}
    assert eve.id.startswith("user_")


async def test_session_tells_lifetime_of_its_token(eve: Person) -> None:
    document = """mutation ($input: RefreshSessionInput!) {
      refreshSession(input: $input) { session { expiresAt expiresIn } } }"""
    answer = await eve.ask(document, input={"refreshToken": eve.refresh_token})
    session = answer["refreshSession"]["session"]
    left = datetime.fromisoformat(session["expiresAt"]) - datetime.now(UTC)
    assert session["expiresIn"] == 900
    assert 840 < left.total_seconds() <= 900


async def test_viewer_is_null_when_anonymous(anonymous: Client) -> None:
    assert await anonymous.ask(VIEWER) == {"viewer": None}


async def test_invalid_token_is_an_error(anonymous: Client) -> None:
    anonymous.token = "nonsense"
    assert (await anonymous.send(VIEWER)).code == "UNAUTHENTICATED"


async def test_update_viewer_changes_name(eve: Person, ada: Client) -> None:
    update = "mutation ($name: String!) { updateViewer(input: {name: $name}) { user { id name } } }"
    updated = await eve.ask(update, name=" Eva ")
    assert updated["updateViewer"]["user"] == {"id": eve.id, "name": "Eva"}
    assert (await eve.ask(VIEWER))["viewer"]["name"] == "Eva"
    assert (await ada.ask(VIEWER))["viewer"]["name"] == "Ada"
    refused = await eve.send(update, name="x" * 101)
    assert errors_of(refused)["field"] == "name"


@pytest.mark.parametrize("token", ["nonsense", "expired"])
async def test_sign_in_and_refresh_ignore_invalid_token(
    eve: Person, services: Services, token: str
) -> None:
    if token == "expired":
        token, _ = AccessTokens(services.keys.secret.derive("access tokens")).make(
            new_id(), new_id(), seconds=-1
        )
    eve.token = token
    refreshed = await eve.ask(REFRESH, input={"refreshToken": eve.refresh_token})
    assert refreshed["refreshSession"]["user"] == {"id": eve.id}
    signed_in = await eve.ask(SIGN_IN, input={"email": NEW["email"], "password": PASSWORD})
    assert signed_in["signIn"]["user"] == {"id": eve.id}
    await eve.ask(SIGN_UP, input=NEW | {"email": "other@example.com"})


async def test_sign_in_ignores_token_that_cannot_be_checked(
    eve: Person, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(_: str) -> NoReturn:
        raise Unavailable("The keys of the issuer cannot be fetched.", hint="Wait.")

    monkeypatch.setattr(services.identity.verifier, "verify", fails)
    eve.token = "of the issuer"
    assert (await eve.send(VIEWER)).code == "UNAVAILABLE"
    await eve.ask(SIGN_IN, input={"email": NEW["email"], "password": PASSWORD})


@pytest.mark.parametrize(
    "document",
    [
        "{ refreshSession(input: $input) { user { id } } deleteCompletedTasks { deletedTaskIds } }",
        "{ ...F } fragment F on Mutation { refreshSession(input: $input) { user { id } } }",
        "{ refreshSession(input: $input) { nothing } }",
    ],
    ids=["another field", "fragment", "invalid"],
)
async def test_invalid_token_refuses_document_with_other_fields(eve: Person, document: str) -> None:
    eve.token = "nonsense"
    query = f"mutation($input: RefreshSessionInput!) {document}"
    body = {"query": query, "variables": {"input": {"refreshToken": eve.refresh_token}}}
    response = await eve.http.post("/graphql", json=body, headers=eve.headers)
    assert response.status_code == 401
    eve.token = ""
    await eve.ask(REFRESH, input={"refreshToken": eve.refresh_token})  # was not used


async def test_viewer_of_admin_has_role(admin: Client) -> None:
    assert (await admin.ask("{ viewer { role } }"))["viewer"] == {"role": "ADMIN"}


async def test_sign_in_opens_another_session(eve: Person, anonymous: Client) -> None:
    asked = {"email": "EVE@example.com", "password": PASSWORD}
    signed_in = (await anonymous.ask(SIGN_IN, input=asked))["signIn"]
    assert signed_in["user"] == {"id": eve.id}
    assert signed_in["session"]["refreshToken"] != eve.refresh_token


async def test_sign_in_error_is_equal_for_wrong_password_and_unknown_user(
    eve: Person, anonymous: Client
) -> None:
    wrong = await anonymous.send(SIGN_IN, input={"email": NEW["email"], "password": "wrong one"})
    unknown = await anonymous.send(
        SIGN_IN, input={"email": "nobody@example.com", "password": PASSWORD}
    )
    assert wrong == unknown
    assert wrong.code == "UNAUTHENTICATED"


async def test_sign_in_limit_returns_retry_after(eve: Person, anonymous: Client) -> None:
    for _ in range(10):
        await anonymous.send(SIGN_IN, input={"email": NEW["email"], "password": "wrong one"})
    answer = await anonymous.send(SIGN_IN, input={"email": NEW["email"], "password": PASSWORD})
    assert answer.code == "RATE_LIMITED"
    assert errors_of(answer)["retryAfter"] > 0


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"email": "no address"}, "BAD_USER_INPUT", "email"),
        ({"password": "short"}, "BAD_USER_INPUT", "password"),
        ({"name": " "}, "BAD_USER_INPUT", "name"),
        ({}, "CONFLICT", "email"),
    ],
)
async def test_sign_up_error_names_field(
    eve: Person, anonymous: Client, changes: dict[str, str], code: str, field: str
) -> None:
    answer = await anonymous.send(SIGN_UP, input=NEW | changes)
    assert (answer.code, errors_of(answer)["field"]) == (code, field)
    assert errors_of(answer)["hint"]


async def test_refresh_session_rotates_and_reuse_revokes(eve: Person) -> None:
    first = eve.refresh_token
    eve.take((await eve.ask(REFRESH, input={"refreshToken": first}))["refreshSession"])
    await eve.ask(VIEWER)
    repeated = await eve.ask(REFRESH, input={"refreshToken": first})
    assert repeated["refreshSession"]["session"]["refreshToken"] == eve.refresh_token
    eve.take((await eve.ask(REFRESH, input={"refreshToken": eve.refresh_token}))["refreshSession"])
    assert (await eve.send(REFRESH, input={"refreshToken": first})).code == "UNAUTHENTICATED"
    latest = await eve.send(REFRESH, input={"refreshToken": eve.refresh_token})
    assert latest.code == "UNAUTHENTICATED"
    assert (await eve.send(VIEWER)).code == "UNAUTHENTICATED"


async def test_sign_out_ends_session(eve: Person) -> None:
    asked = {"refreshToken": eve.refresh_token}
    assert await eve.ask(SIGN_OUT, input=asked) == {"signOut": {"signedOut": True}}
    assert (await eve.send(VIEWER)).code == "UNAUTHENTICATED"


async def test_sign_out_of_other_session_is_refused(
    eve: Person, ada: Client, anonymous: Client
) -> None:
    asked = {"refreshToken": eve.refresh_token}
    assert (await ada.send(SIGN_OUT, input=asked)).code == "BAD_USER_INPUT"
    assert (await anonymous.send(SIGN_OUT, input=asked)).code == "UNAUTHENTICATED"
    await eve.ask(VIEWER)


async def test_change_password_ends_other_sessions(eve: Person) -> None:
    old = eve.token
    asked = {"currentPassword": PASSWORD, "newPassword": "another horse"}
    eve.take((await eve.ask(CHANGE, input=asked))["changePassword"])
    await eve.ask(VIEWER)
    again = await eve.send(CHANGE, input=asked)
    assert (again.code, errors_of(again)["field"]) == ("BAD_USER_INPUT", "currentPassword")
    eve.token = old
    assert (await eve.send(VIEWER)).code == "UNAUTHENTICATED"


async def test_change_password_requires_session(anonymous: Client) -> None:
    asked = {"currentPassword": PASSWORD, "newPassword": "another horse"}
    assert (await anonymous.send(CHANGE, input=asked)).code == "UNAUTHENTICATED"


async def test_user_node_is_visible_to_itself_only(ada: Client, bob: Client, admin: Client) -> None:
    assert ada.user is not None
    document = "query ($id: ID!) { node(id: $id) { id ... on User { name } } }"
    ada_id = id_of("user", ada.user.id)
    assert (await ada.ask(document, id=ada_id))["node"] == {"id": ada_id, "name": "Ada"}
    for other in (bob, admin):
        assert (await other.ask(document, id=ada_id))["node"] is None


async def test_secrets_are_not_in_repr_of_inputs() -> None:
    assert PASSWORD not in repr(SignInInput(email="a@b.example", password=PASSWORD))
    assert PASSWORD not in repr(ChangePasswordInput(current_password=PASSWORD, new_password="x"))


async def test_socket_says_that_its_token_expired(
    ada: Client, services: Services, clock: Clock
) -> None:
    async with ada.follow("subscription { taskChanged { kind } }") as responses:
        await followed(services, ada)
        clock.ahead = timedelta(days=1)
        with pytest.raises(ConnectionClosed) as ended:
            await anext(responses)
    assert ended.value.rcvd is not None
    assert ended.value.rcvd.code == 4403
    assert ended.value.rcvd.reason.startswith("The access token has expired. Call refreshSession")

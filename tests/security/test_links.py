"""Signed links end with the session that requested them, and with the right to read."""

import httpx
import pytest

from db.services import Services
from db.users import Role
from tests.fixtures.clients import Client
from tests.graph.transport.files.test_file_routes import DATA, make, shown, stored

SIGN_IN = """mutation($input: SignInInput!) { signIn(input: $input) {
  session { accessToken refreshToken } } }"""
PASSWORD = "correct horse battery"
EMAIL = "mia@example.com"


@pytest.fixture
async def mia(anonymous: Client, services: Services) -> Client:
    """Signed in with a password, and so with a refresh token to sign out with."""
    user = await services.identity.create(
        email=EMAIL, password=PASSWORD, name="Mia", role=Role.USER
    )
    anonymous.user = user
    await sign_in(anonymous)
    return anonymous


async def sign_in(client: Client) -> str:
    """Returns the refresh token."""
    client.token = ""
    answer = await client.ask(SIGN_IN, input={"email": EMAIL, "password": PASSWORD})
    session = answer["signIn"]["session"]
    client.token = session["accessToken"]
    return str(session["refreshToken"])


async def sign_out(client: Client, refresh_token: str) -> None:
    await client.ask(
        "mutation($input: SignOutInput!) { signOut(input: $input) { signedOut } }",
        input={"refreshToken": refresh_token},
    )


async def status(client: Client, link: str, method: str = "GET") -> int:
    content = DATA if method == "PUT" else None
    return (await client.http.request(method, link, content=content)).status_code


async def test_links_end_with_sign_out(mia: Client) -> None:
    refresh_token = await sign_in(mia)
    download = await stored(mia, location="a")
    pending = await make(mia, location="b", bucketId=None)
    assert await status(mia, download) == 200
    await sign_out(mia, refresh_token)
    assert await status(mia, download) == 403
    assert await status(mia, pending.upload_url, "PUT") == 403
    tus = {"tus-resumable": "1.0.0"}
    assert (await mia.http.head(pending.upload_url, headers=tus)).status_code == 403


async def test_links_of_another_session_remain(mia: Client) -> None:
    first = await sign_in(mia)
    await sign_in(mia)
    download = await stored(mia)
    await sign_out(mia, first)
    assert await status(mia, download) == 200


async def test_links_end_with_a_change_of_password(mia: Client) -> None:
    download = await stored(mia)
    await mia.ask(
        "mutation($input: ChangePasswordInput!) "
        "{ changePassword(input: $input) { session { accessToken } } }",
        input={"currentPassword": PASSWORD, "newPassword": "another horse battery"},
    )
    assert await status(mia, download) == 403


async def test_holder_of_a_link_cannot_be_changed(mia: Client, ada: Client) -> None:
    refresh_token = await sign_in(mia)
    link = httpx.URL(await stored(mia))
    hers = httpx.URL(await stored(ada))
    await sign_out(mia, refresh_token)
    for forged in (
        link.copy_remove_param("for"),
        link.copy_merge_params({"for": ""}),
        link.copy_merge_params({"for": hers.params["for"]}),
        link.copy_remove_param("for").copy_merge_params(
            {"expires": f"{link.params['expires']}\n{link.params['for']}"}
        ),
    ):
        assert await status(mia, str(forged)) == 403


async def test_link_to_public_bucket_ends_when_it_becomes_private(mia: Client, ada: Client) -> None:
    made = await ada.ask(
        'mutation { createBucket(input: {name: "open", private: false}) { bucket { id } } }'
    )
    bucket = made["createBucket"]["bucket"]["id"]
    file = await make(ada, location="a", bucketId=bucket)
    assert await status(ada, file.upload_url, "PUT") == 201
    theirs, own = (await shown(mia, file))["downloadUrl"], (await shown(ada, file))["downloadUrl"]
    assert await status(mia, theirs) == 200
    await ada.ask(
        "mutation($input: UpdateBucketInput!) { updateBucket(input: $input) { bucket { id } } }",
        input={"id": bucket, "private": True},
    )
    assert await status(mia, theirs) == 404
    assert await status(ada, own) == 200

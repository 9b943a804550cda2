from datetime import UTC, datetime
from typing import Any

import pytest

from db.errors import BadInput, Forbidden, NotFound, Unauthenticated
from db.kit.base import new_id
from db.services import Services
from db.users import Role
from graph.auth import (
    AdminOnly,
    Anyone,
    Permission,
    SignedIn,
    Viewer,
    authenticate,
    owner_of_email,
)
from graph.context import Context
from tests.fixtures.clients import Client
from tests.fixtures.identity import sign_up


async def test_authenticate_returns_viewer_with_owner(
    services: Services, ada: Client, admin: Client
) -> None:
    for client, role in ((ada, Role.USER), (admin, Role.ADMIN)):
        assert client.user is not None
        viewer = await authenticate(services, f"Bearer {client.token}")
        assert viewer is not None
        assert (viewer.id, viewer.owner, viewer.role) == (client.user.id, client.user.id, role)
        assert viewer.is_admin is (role is Role.ADMIN)
        assert viewer.expires_at > datetime.now(UTC)


async def test_authenticate_scheme_is_case_insensitive(services: Services, ada: Client) -> None:
    assert await authenticate(services, f"bearer  {ada.token} ")


async def test_authenticate_without_header_returns_none(services: Services) -> None:
    assert await authenticate(services, None) is None


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic YTpi", "{token}", "Token {token}"]
)
async def test_authenticate_with_invalid_header_raises(
    services: Services, ada: Client, header: str
) -> None:
    with pytest.raises(Unauthenticated) as caught:
        await authenticate(services, header.format(token=ada.token))
    assert caught.value.hint
    assert ada.token not in caught.value.message + caught.value.hint


async def test_owner_of_email_finds_account(services: Services) -> None:
    ada = await sign_up(services.identity)
    assert await owner_of_email(services, " ADA@example.com") == ada.user.id
    with pytest.raises(NotFound) as caught:
        await owner_of_email(services, "nobody@example.com")
    assert "howdah user list" in caught.value.hint
    with pytest.raises(BadInput):
        await owner_of_email(services, "nobody")


def context(services: Services, role: Role | None) -> Context:
    viewer = None
    if role is not None:
        viewer = Viewer(id=new_id(), role=role, expires_at=datetime.now(UTC))
    return Context(services=services, viewer=viewer, request_id="r")


@pytest.mark.parametrize(
    ("permission", "role", "answer"),
    [
        (Anyone, None, True),
        (Anyone, Role.USER, True),
        (SignedIn, None, Unauthenticated),
        (SignedIn, Role.USER, True),
        (AdminOnly, None, Unauthenticated),
        (AdminOnly, Role.USER, Forbidden),
        (AdminOnly, Role.ADMIN, True),
    ],
)
def test_permissions_allow_their_callers(
    services: Services, permission: type[Permission], role: Role | None, answer: Any
) -> None:
    asked = context(services, role)
    if answer is True:
        assert permission().allows(asked)
    else:
        with pytest.raises(answer):
            permission().allows(asked)

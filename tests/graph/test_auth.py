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


async def test_a_token_becomes_a_viewer_who_owns_what_is_theirs(
    services: Services, ada: Client, admin: Client
) -> None:
    for client, role in ((ada, Role.USER), (admin, Role.ADMIN)):
        assert client.user is not None
        viewer = await authenticate(services, f"Bearer {client.token}")
        assert viewer is not None
        assert (viewer.id, viewer.owner, viewer.role) == (client.user.id, client.user.id, role)
        assert viewer.is_admin is (role is Role.ADMIN)
        assert viewer.expires_at > datetime.now(UTC)


async def test_the_scheme_may_be_written_in_any_case(services: Services, ada: Client) -> None:
    assert await authenticate(services, f"bearer  {ada.token} ")


async def test_without_a_header_there_is_nobody(services: Services) -> None:
    assert await authenticate(services, None) is None


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic YTpi", "{token}", "Token {token}"]
)
async def test_a_header_that_speaks_for_nobody_is_an_error_not_nobody(
    services: Services, ada: Client, header: str
) -> None:
    with pytest.raises(Unauthenticated) as caught:
        await authenticate(services, header.format(token=ada.token))
    assert caught.value.hint
    assert ada.token not in caught.value.message + caught.value.hint


async def test_the_operator_finds_an_owner_by_address(services: Services) -> None:
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
def test_permissions_let_in_whom_they_name(
    services: Services, permission: type[Permission], role: Role | None, answer: Any
) -> None:
    asked = context(services, role)
    if answer is True:
        assert permission().allows(asked)
    else:
        with pytest.raises(answer):
            permission().allows(asked)

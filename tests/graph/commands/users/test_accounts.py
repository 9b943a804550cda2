import dataclasses
from pathlib import Path

import msgspec
import pytest

from db.errors import BadInput, Conflict, NotFound, Unauthenticated
from db.kit.base import TimestampText, new_id
from db.services import Services
from db.users import ExternalUser, Identity, Role, SignInLinks, UserRow, Users
from graph.commands.users.accounts import (
    create_user,
    describe_user,
    find_user,
    issue_token,
    list_users,
    make_reset_link,
    remove_user,
    update_user,
)
from graph.kit.ids import id_of
from tests.fixtures.identity import PASSWORD
from tests.graph.commands.test_cli import howdah


async def create(services: Services, *, admin: bool = False) -> UserRow:
    return await create_user(
        services, email="Ada@example.com", name="Ada", password=PASSWORD, admin=admin
    )


async def test_user_create_allows_sign_in(services: Services) -> None:
    ada = await create(services)
    signed_in = await services.identity.sign_in(
        email="ada@example.com", password=PASSWORD, address=""
    )
    assert signed_in.user == ada
    with pytest.raises(Conflict):
        await create(services)


async def test_user_create_and_promote_make_admins(services: Services) -> None:
    assert (await create(services, admin=True)).role == "ADMIN"
    await remove_user(services, "ada@example.com")
    await create(services)
    assert (await update_user(services, "ada@example.com", role="ADMIN")).role == "ADMIN"


async def test_user_token_works_until_user_is_removed(
    services: Services,
) -> None:
    ada = await create(services)
    token = await issue_token(services, "ada@example.com")
    assert (await services.identity.verifier.verify(token)).user_id == ada.id
    assert await remove_user(services, "ada@example.com") == ada
    with pytest.raises(Unauthenticated):
        await services.identity.verifier.verify(token)
    with pytest.raises(NotFound):
        await remove_user(services, "ada@example.com")


async def test_user_reset_password_prints_link_that_works_once(services: Services) -> None:
    ada = await create(services)
    link = await make_reset_link(services, "ada@example.com")
    base, _, token = link.partition("#token=")
    assert base == "http://127.0.0.1:8000/reset-password"
    resets = services.identity.password_resets
    assert await resets.use(token, password="another horse", address="") == ada
    with pytest.raises(BadInput):
        await resets.use(token, password="another horse", address="")


async def test_user_reset_password_link_leads_to_the_running_development_server(
    services: Services, tmp_path: Path
) -> None:
    await create(services)
    settings = msgspec.structs.replace(services.settings, data_dir=tmp_path)
    moved = dataclasses.replace(services, settings=settings)
    with SignInLinks(tmp_path).serving("http://127.0.0.1:9876/graphql"):
        link = await make_reset_link(moved, "ada@example.com")
    assert link.startswith("http://127.0.0.1:9876/reset-password#token=")


async def test_external_user_is_named_by_id(services: Services) -> None:
    person = ExternalUser("https://issuer.example.com/", "s", "ada@example.com", "Ada")
    outsider = await services.database.transaction(
        lambda session: Users(session).get_or_create_external(person)
    )
    assert outsider is not None
    outsider_id = id_of("user", outsider.id)
    assert (await update_user(services, outsider_id, role="ADMIN")).role == "ADMIN"
    with pytest.raises(NotFound):
        await find_user(services, "ada@example.com")


@pytest.mark.parametrize("person", ["user_5", "nobody", ""])
async def test_find_user_refuses_other_text(services: Services, person: str) -> None:
    with pytest.raises(BadInput):
        await find_user(services, person)


async def test_find_user_raises_for_an_unknown_id(services: Services) -> None:
    with pytest.raises(NotFound):
        await find_user(services, id_of("user", new_id()))


async def test_list_users_reads_all_pages(services: Services) -> None:
    async def add(number: int) -> UserRow:
        return await services.database.write(
            lambda session: Users(session).add(
                email=f"user{number}@example.com", name="User", password_hash=None
            )
        )

    users = [await add(number) for number in range(501)]  # one more than a page
    assert [user async for user in list_users(services)] == users


def test_describe_user_removes_control_characters() -> None:
    row = UserRow(
        new_id(), None, "Ada\x1b[2J\n", "USER", TimestampText("2026-11-21T10:00:00+00:00")
    )
    assert describe_user(row) == f"{id_of('user', row.id)}  USER   2026-11-21  (external)  Ada[2J"


async def test_user_reset_password_command_prints_link(
    committed_url: str, committed_identity: Identity, tmp_path: Path
) -> None:
    email = "ada@example.com"
    ada = await committed_identity.create(
        email=email, password=PASSWORD, name="Ada", role=Role.USER
    )
    arguments = ("user", "reset-password", email, "--data-dir", str(tmp_path / "data"))
    settings = {"HOWDAH_ENV": "development", "HOWDAH_DATABASE_URL": committed_url}
    public = {"HOWDAH_PUBLIC_URL": "https://api.example.com/"}
    code, output, errors = await howdah(*arguments, **settings, **public)
    assert code == 0, errors
    base, _, token = output.strip().partition("#token=")
    assert base == "https://api.example.com/reset-password"
    resets = committed_identity.password_resets
    assert await resets.use(token, password="another horse", address="") == ada
    assert token not in errors


async def test_user_commands_change_the_account(
    committed_url: str, committed_identity: Identity, tmp_path: Path
) -> None:
    email = "ada@example.com"
    await committed_identity.create(email=email, password=PASSWORD, name="Ada", role=Role.USER)
    await committed_identity.sign_in(
        email=email, password=PASSWORD, address="192.0.2.1", user_agent="curl/8"
    )
    settings = {"HOWDAH_ENV": "development", "HOWDAH_DATABASE_URL": committed_url}

    async def run(command: str, *options: str) -> str:
        folder = ("--data-dir", str(tmp_path / "data"))
        code, output, errors = await howdah("user", command, email, *options, *folder, **settings)
        assert code == (1 if command == "demote" else 0), errors
        return output + errors

    assert "192.0.2.1  curl/8" in await run("sessions")
    assert await run("sessions", "--end") == "ended sessions: 1\n"
    assert "  ADMIN  " in await run("promote")
    assert "last admin" in await run("demote")

"""The work of `howdah user`: accounts, without a session, by whoever works on the server."""

from collections.abc import AsyncIterator

from db.errors import NotFound
from db.services import Services
from db.settings import Settings
from db.users import Role, SignInLinks, UserRow, Users
from graph.auth import user_of_email
from graph.kit.ids import id_of, parse_id


async def create_user(
    services: Services, *, email: str, name: str, password: str, admin: bool = False
) -> UserRow:
    role = Role.ADMIN if admin else Role.USER
    return await services.identity.create(email=email, name=name, password=password, role=role)


async def list_users(services: Services) -> AsyncIterator[UserRow]:
    """Everybody, first come first."""
    last: UserRow | None = None
    while True:
        async with services.database.read() as session:
            page = await Users(session).page(after=last.id if last else None)
        for last in page:
            yield last
        if not page:
            return


async def promote_user(services: Services, person: str) -> UserRow:
    """Makes somebody an admin; their sessions notice within a minute."""
    user = await find_user(services, person)
    promoted = await services.database.write(
        lambda session: Users(session).set_role(user.id, Role.ADMIN)
    )
    if promoted is None:
        raise _user_not_found()
    return promoted


async def remove_user(services: Services, person: str) -> UserRow:
    """Removes somebody and all they own; their sessions end within a minute."""
    user = await find_user(services, person)
    if not await services.database.transaction(lambda session: Users(session).remove(user.id)):
        raise _user_not_found()
    services.identity.verifier.forget(user.id)
    return user


async def issue_token(services: Services, person: str) -> str:
    """An access token of theirs that expires as any other."""
    return await services.identity.issue(await find_user(services, person))


def make_sign_in_link(settings: Settings) -> str:
    """Another one-time link to the development server that uses the data folder."""
    return SignInLinks(settings.data_dir).make()


async def find_user(services: Services, person: str) -> UserRow:
    """By e-mail address, or by id: an outside issuer's users have no address here."""
    if "@" in person or not person.startswith("user_"):
        return await user_of_email(services, person)
    user_id = parse_id("user", person)
    async with services.database.read() as session:
        user = await Users(session).by_id(user_id)
    if user is None:
        raise _user_not_found()
    return user


def describe_user(user: UserRow) -> str:
    """One line; what a terminal would take for a command is left out."""
    fields = (
        id_of("user", user.id),
        f"{user.role:5}",
        user.created_at.partition("T")[0],
        user.email or "(outside)",
        user.name,
    )
    return "".join(c for c in "  ".join(fields) if c.isprintable())


def _user_not_found() -> NotFound:
    return NotFound("There is no such user.", hint="`howdah user list` shows everybody.")

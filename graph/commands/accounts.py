"""The work of `howdah user`: user accounts, managed by the operator without a session."""

from collections.abc import AsyncIterator

from db.errors import NotFound
from db.services import Services
from db.settings import Settings
from db.users import Role, SignInLinks, UserRow, Users
from graph.auth import user_of_email
from graph.kit.ids import id_of, parse_id
from graph.users.password_reset_url import password_reset_url


async def create_user(
    services: Services, *, email: str, name: str, password: str, admin: bool = False
) -> UserRow:
    role = Role.ADMIN if admin else Role.USER
    return await services.identity.create(email=email, name=name, password=password, role=role)


async def list_users(services: Services) -> AsyncIterator[UserRow]:
    """All users, oldest first."""
    last: UserRow | None = None
    while True:
        async with services.database.read() as session:
            page = await Users(session).page(after=last.id if last else None)
        for last in page:
            yield last
        if not page:
            return


async def promote_user(services: Services, name: str) -> UserRow:
    """Give a user the `ADMIN` role. Their sessions have it within a minute."""
    user = await find_user(services, name)
    promoted = await services.database.transaction(
        lambda session: Users(session).set_role(user.id, Role.ADMIN)
    )
    if promoted is None:
        raise _user_not_found()
    return promoted


async def remove_user(services: Services, name: str) -> UserRow:
    """Delete a user and all objects they own. Their sessions end within a minute."""
    user = await find_user(services, name)
    if not await services.database.transaction(lambda session: Users(session).remove(user.id)):
        raise _user_not_found()
    services.identity.verifier.forget(user.id)
    return user


async def issue_token(services: Services, name: str) -> str:
    return await services.identity.issue(await find_user(services, name))


async def make_reset_link(services: Services, name: str) -> str:
    """A one-time link that sets a new password. It voids the previous one of the user."""
    user = await find_user(services, name)
    reset = await services.identity.password_resets.create(user.id)
    return password_reset_url(base_url_of(services.settings), reset.token)


def base_url_of(settings: Settings) -> str:
    """Where browsers reach the server: HOWDAH_PUBLIC_URL, else its address on this machine.

    A development server that runs may have been given another port on its command line.
    """
    if settings.public_url is not None:
        return settings.public_url.rstrip("/")
    running = SignInLinks(settings.data_dir).address_of_server()
    if running is not None:
        return running.removesuffix("/graphql")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - for display
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def make_sign_in_link(settings: Settings) -> str:
    return SignInLinks(settings.data_dir).make()


async def find_user(services: Services, name: str) -> UserRow:
    """Find a user by e-mail address, or by ID: users of an external issuer have no address."""
    if "@" in name or not name.startswith("user_"):
        return await user_of_email(services, name)
    user_id = parse_id("user", name)
    async with services.database.read() as session:
        user = await Users(session).by_id(user_id)
    if user is None:
        raise _user_not_found()
    return user


def describe_user(user: UserRow) -> str:
    """One line, without the control characters that a name may contain."""
    fields = (
        id_of("user", user.id),
        f"{user.role:5}",
        user.created_at.partition("T")[0],
        user.email or "(external)",
        user.name,
    )
    return "".join(c for c in "  ".join(fields) if c.isprintable())


def _user_not_found() -> NotFound:
    return NotFound("The user does not exist.", hint="Run `howdah user list` to see all users.")

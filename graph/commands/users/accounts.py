"""The work of `howdah user`: user accounts, managed by the operator without a session."""

from collections.abc import AsyncIterator, Iterable, Sequence

from db.errors import NotFound
from db.services import Services
from db.settings import Settings
from db.users import Role, SessionRow, Sessions, SignInLinks, UserRow, Users
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


async def update_user(
    services: Services, name: str, *, role: str | None = None, suspended: bool | None = None
) -> UserRow:
    """Change the role of a user, suspend or resume them."""
    user = await find_user(services, name)
    return await services.identity.administration.update(
        user.id, role=Role(role) if role else None, suspended=suspended
    )


async def sessions_of(services: Services, name: str) -> Sequence[SessionRow]:
    user = await find_user(services, name)
    async with services.database.read() as session:
        return await Sessions(session).all_live(user.id)


async def end_sessions(services: Services, name: str) -> int:
    """End all sessions of a user; returns how many there were."""
    user = await find_user(services, name)
    return await services.identity.administration.end_sessions(user.id)


async def remove_user(services: Services, name: str) -> UserRow:
    """Delete a user and all objects they own. Their sessions end within a second."""
    user = await find_user(services, name)
    if not await services.database.transaction(lambda session: Users(session).remove(user.id)):
        raise _user_not_found()
    await services.identity.access.announce(user.id)
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
        *(("(suspended)",) if user.suspended_at else ()),
    )
    return _printable(fields)


def describe_session(row: SessionRow) -> str:
    """One line, without the control characters that a client may send."""
    times = (f"{row.created_at[:16]}Z", f"used {row.last_used_at[:16]}Z")
    return _printable((*times, row.address or "(unknown)", row.user_agent or "(unknown)"))


def _printable(fields: Iterable[str]) -> str:
    return "".join(c for c in "  ".join(fields) if c.isprintable())


def _user_not_found() -> NotFound:
    return NotFound("The user does not exist.", hint="Run `howdah user list` to see all users.")

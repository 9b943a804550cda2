"""The options of `howdah user`. `accounts` has the work and is imported on use."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from db.settings import load_settings
from graph.commands.options import data_dir_option

if TYPE_CHECKING:
    from db.services import Services

T = TypeVar("T")

user_argument = click.argument("user", metavar="USER")


@click.group(name="user")
def user_group() -> None:
    """Manage user accounts. USER is an e-mail address or a user ID."""


@user_group.command()
@click.argument("email")
@click.option("--name", default="", help="Display name. Defaults to the e-mail address.")
@click.option("--admin", is_flag=True, help="Give the user the ADMIN role.")
@data_dir_option
def create(*, email: str, name: str, admin: bool, data_dir: Path | None) -> None:
    """Create an account. Prompts for the password, or reads it from standard input."""
    from graph.commands.users import accounts

    password = _read_password()
    created = _run(
        data_dir,
        lambda services: accounts.create_user(
            services, email=email, name=name or email, password=password, admin=admin
        ),
    )
    click.echo(accounts.describe_user(created))


@user_group.command(name="list")
@data_dir_option
def list_(data_dir: Path | None) -> None:
    """List all users, oldest first."""
    from graph.commands.users import accounts

    async def show(services: "Services") -> None:
        async for found in accounts.list_users(services):
            click.echo(accounts.describe_user(found))

    _run(data_dir, show)


@user_group.command()
@user_argument
@data_dir_option
def promote(user: str, data_dir: Path | None) -> None:
    """Give a user the ADMIN role. Takes effect within a second."""
    _update(user, data_dir, role="ADMIN")


@user_group.command()
@user_argument
@data_dir_option
def demote(user: str, data_dir: Path | None) -> None:
    """Take the ADMIN role from a user. Takes effect within a second."""
    _update(user, data_dir, role="USER")


@user_group.command()
@user_argument
@data_dir_option
def suspend(user: str, data_dir: Path | None) -> None:
    """Sign a user out everywhere and refuse to sign them in.

    Their data stays. Their access tokens stop working until `howdah user resume`.
    """
    _update(user, data_dir, suspended=True)


@user_group.command()
@user_argument
@data_dir_option
def resume(user: str, data_dir: Path | None) -> None:
    """Let a suspended user sign in again."""
    _update(user, data_dir, suspended=False)


@user_group.command()
@user_argument
@click.option("--end", is_flag=True, help="End all sessions of the user.")
@data_dir_option
def sessions(*, user: str, end: bool, data_dir: Path | None) -> None:
    """List the sessions of a user: sign-in, last use, address and client."""
    from graph.commands.users import accounts

    if end:
        ended = _run(data_dir, lambda services: accounts.end_sessions(services, user))
        click.echo(f"ended sessions: {ended}")
        return
    for row in _run(data_dir, lambda services: accounts.sessions_of(services, user)):
        click.echo(accounts.describe_session(row))


@user_group.command()
@user_argument
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@data_dir_option
def remove(*, user: str, yes: bool, data_dir: Path | None) -> None:
    """Delete a user with all objects they own. Their sessions end within a second."""
    from graph.commands.users import accounts

    if not yes:
        click.confirm(f"Delete {user} and all objects they own?", abort=True)
    removed = _run(data_dir, lambda services: accounts.remove_user(services, user))
    click.echo(f"deleted: {accounts.describe_user(removed)}")


@user_group.command()
@user_argument
@data_dir_option
def token(user: str, data_dir: Path | None) -> None:
    """Print a short-lived access token of a user."""
    from graph.commands.users import accounts

    click.echo(_run(data_dir, lambda services: accounts.issue_token(services, user)))


@user_group.command(name="reset-password")
@user_argument
@data_dir_option
def reset_password(user: str, data_dir: Path | None) -> None:
    """Print a one-time link that sets a new password.

    It starts with HOWDAH_PUBLIC_URL, or the address of the running development server, is valid for
    one hour, and voids the previous link of the user. Using it ends their sessions. The token after
    `#token=` also works with `resetPassword`.
    """
    from graph.commands.users import accounts

    click.echo(_run(data_dir, lambda services: accounts.make_reset_link(services, user)))


@user_group.command(name="sign-in-link")
@data_dir_option
def sign_in_link(data_dir: Path | None) -> None:
    """Print a one-time link to GraphiQL.

    It signs in the local admin of the development server that uses the data folder.
    """
    from graph.commands.users import accounts

    click.echo(accounts.make_sign_in_link(load_settings(data_dir=data_dir)))


def _update(
    user: str, data_dir: Path | None, *, role: str | None = None, suspended: bool | None = None
) -> None:
    from graph.commands.users import accounts

    changed = _run(
        data_dir,
        lambda services: accounts.update_user(services, user, role=role, suspended=suspended),
    )
    click.echo(accounts.describe_user(changed))


def _run(data_dir: Path | None, work: "Callable[[Services], Awaitable[T]]") -> T:
    from db.postgres.embedded import use_running_server
    from db.services import open_services
    from graph.commands.operator import act_as_operator

    act_as_operator()
    settings = use_running_server(load_settings(data_dir=data_dir))

    async def within_services() -> T:
        async with open_services(settings) as services:
            return await work(services)

    return asyncio.run(within_services())


def _read_password() -> str:
    """Read the password. It is not an argument, because the process list shows those."""
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")

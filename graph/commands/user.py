"""`howdah user ...`: the options. The work is in `graph.commands.accounts`, loaded when needed."""

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

person_argument = click.argument("person", metavar="EMAIL")


@click.group(name="user")
def user_group() -> None:
    """People. Where an EMAIL is asked for, a user's id will do."""


@user_group.command()
@click.argument("email")
@click.option("--name", default="", help="What to call them; else the address is taken.")
@click.option("--admin", is_flag=True, help="They may run the server.")
@data_dir_option
def create(*, email: str, name: str, admin: bool, data_dir: Path | None) -> None:
    """Make an account. The password is asked for, or read from a pipe."""
    from graph.commands import accounts

    password = _read_password()
    made = _run(
        data_dir,
        lambda services: accounts.create_user(
            services, email=email, name=name or email, password=password, admin=admin
        ),
    )
    click.echo(accounts.describe_user(made))


@user_group.command(name="list")
@data_dir_option
def list_(data_dir: Path | None) -> None:
    """Show everybody."""
    from graph.commands import accounts

    async def show(services: "Services") -> None:
        async for found in accounts.list_users(services):
            click.echo(accounts.describe_user(found))

    _run(data_dir, show)


@user_group.command()
@person_argument
@data_dir_option
def promote(person: str, data_dir: Path | None) -> None:
    """Make somebody an admin."""
    from graph.commands import accounts

    promoted = _run(data_dir, lambda services: accounts.promote_user(services, person))
    click.echo(accounts.describe_user(promoted))


@user_group.command()
@person_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@data_dir_option
def remove(*, person: str, yes: bool, data_dir: Path | None) -> None:
    """Remove somebody and all they own, and end their sessions."""
    from graph.commands import accounts

    if not yes:
        click.confirm(f"Remove {person} and everything they own?", abort=True)
    removed = _run(data_dir, lambda services: accounts.remove_user(services, person))
    click.echo(f"removed: {accounts.describe_user(removed)}")


@user_group.command()
@person_argument
@data_dir_option
def token(person: str, data_dir: Path | None) -> None:
    """Print a short-lived access token of theirs."""
    from graph.commands import accounts

    click.echo(_run(data_dir, lambda services: accounts.issue_token(services, person)))


@user_group.command(name="sign-in-link")
@data_dir_option
def sign_in_link(data_dir: Path | None) -> None:
    """Print a one-time link to GraphiQL that signs in the local admin of a development server."""
    from graph.commands import accounts

    click.echo(accounts.make_sign_in_link(load_settings(data_dir=data_dir)))


def _run(data_dir: Path | None, work: "Callable[[Services], Awaitable[T]]") -> T:
    from db.postgres.embedded import use_running_server
    from db.services import open_services

    settings = use_running_server(load_settings(data_dir=data_dir))

    async def within_services() -> T:
        async with open_services(settings) as services:
            return await work(services)

    return asyncio.run(within_services())


def _read_password() -> str:
    """Never an argument: those stand in the list of processes."""
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")

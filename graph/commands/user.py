"""`howdah user ...`: the options. The work is in `graph.commands.people`, loaded when needed."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from db.settings import load_settings

if TYPE_CHECKING:
    from db.services import Services

T = TypeVar("T")

app = typer.Typer(help="People: create, list, promote, remove, token.", no_args_is_help=True)

DataDir = Annotated[Path | None, typer.Option(help="The folder of all that is kept.")]
Person = Annotated[str, typer.Argument(metavar="EMAIL", help="An e-mail address, or a user's id.")]


@app.command()
def create(
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="The address to sign in with.")],
    *,
    name: Annotated[str, typer.Option(help="What to call them; else the address is taken.")] = "",
    admin: Annotated[bool, typer.Option("--admin", help="They may run the server.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Make an account. The password is asked for, or read from a pipe."""
    from graph.commands import people

    password = _read_password()
    user = _run(
        data_dir,
        lambda services: people.create_user(
            services, email=email, name=name or email, password=password, admin=admin
        ),
    )
    typer.echo(people.described(user))


@app.command(name="list")
def list_(data_dir: DataDir = None) -> None:
    """Show everybody."""
    from graph.commands import people

    async def show(services: "Services") -> None:
        async for user in people.list_users(services):
            typer.echo(people.described(user))

    _run(data_dir, show)


@app.command()
def promote(person: Person, data_dir: DataDir = None) -> None:
    """Make somebody an admin."""
    from graph.commands import people

    user = _run(data_dir, lambda services: people.promote_user(services, person))
    typer.echo(people.described(user))


@app.command()
def remove(
    person: Person,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Remove somebody and all they own, and end their sessions."""
    from graph.commands import people

    if not yes:
        typer.confirm(f"Remove {person} and everything they own?", abort=True)
    user = _run(data_dir, lambda services: people.remove_user(services, person))
    typer.echo(f"removed: {people.described(user)}")


@app.command()
def token(person: Person, data_dir: DataDir = None) -> None:
    """Print a short-lived access token of theirs."""
    from graph.commands import people

    typer.echo(_run(data_dir, lambda services: people.issue_token(services, person)))


def _run(data_dir: Path | None, work: "Callable[[Services], Awaitable[T]]") -> T:
    from db.embedded import beside_a_server
    from db.services import open_services

    settings = beside_a_server(load_settings(data_dir=data_dir))

    async def within_services() -> T:
        async with open_services(settings) as services:
            return await work(services)

    return asyncio.run(within_services())


def _read_password() -> str:
    """Never an argument: those stand in the list of processes."""
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")

"""The banner of a server: its address and, in development, how to sign in."""

import contextlib
import logging
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from db.services import Services
from db.settings import Settings, default_data_dir
from db.users import LOCAL_ADMIN, SignInLinks
from db.version import __version__

log = logging.getLogger(__name__)


@contextlib.contextmanager
def accept_sign_in_links(settings: Settings, address: str) -> Iterator[SignInLinks | None]:
    """The sign-in links of this server until the block ends, or None if it has none."""
    with contextlib.ExitStack() as stack:
        links = SignInLinks(settings.data_dir) if settings.allows_sign_in_links else None
        if links is not None:
            try:
                stack.enter_context(links.serving(address))
            except OSError as error:
                log.warning("sign-in links cannot be stored in the data folder: %s", error.strerror)
                links = None
        yield links


async def print_banner(services: Services, address: str, links: SignInLinks | None) -> None:
    """Print to standard output and not to the log, which must not contain a sign-in link."""
    settings = services.settings
    click.echo(f"Howdah {__version__} is serving at {address}")
    if not settings.development or settings.log_format == "json":
        return
    await services.identity.local_admin()
    if links is None:
        click.echo(f"`{_command(settings, 'token', LOCAL_ADMIN)}` prints an access token.")
        return
    click.echo(f"Open {links.make()}")
    click.echo(f"There you are signed in as {LOCAL_ADMIN}. The link works once:")
    click.echo(f"`{_command(settings, 'sign-in-link')}` prints another,")
    click.echo(f"`{_command(settings, 'token', LOCAL_ADMIN)}` an access token for other clients.")


def _command(settings: Settings, *words: str) -> str:
    """A command that works in the directory and with the data folder of this server."""
    folder = settings.data_dir
    options = [] if folder == default_data_dir() else ["--data-dir", str(folder)]
    return shlex.join([_program(), "user", *words, *options])


def _program() -> str:
    """`howdah` if it is on the PATH, else its path: `make serve` activates no environment."""
    beside = Path(sys.executable).with_name("howdah")
    if shutil.which("howdah") is not None or not beside.exists():
        return "howdah"
    here = Path.cwd()
    return str(beside.relative_to(here) if beside.is_relative_to(here) else beside)

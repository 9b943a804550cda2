"""The banner of a server: its address and, in development, how to sign in."""

import contextlib
import logging
import shlex
from collections.abc import Iterator

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
        click.echo(f"`howdah user token {LOCAL_ADMIN}` prints an access token for the Headers tab.")
        return
    click.echo(f"Open {links.make()}")
    click.echo(f"It signs you in as {LOCAL_ADMIN} and works once;")
    click.echo(f"`{_link_command(settings)}` prints another.")


def _link_command(settings: Settings) -> str:
    folder = settings.data_dir
    options = [] if folder == default_data_dir() else ["--data-dir", str(folder)]
    return shlex.join(["howdah", "user", "sign-in-link", *options])

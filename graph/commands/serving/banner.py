"""The banner of a server: its address and, in development, how to sign in."""

import contextlib
import logging
from collections.abc import Iterator

import click

from db.services import Services
from db.settings import Settings
from db.users import LOCAL_ADMIN, SignInLinks
from db.version import __version__
from graph.transport.routes.user_commands import user_command

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
        click.echo(f"`{user_command(settings, 'token', LOCAL_ADMIN)}` prints an access token.")
        return
    click.echo(f"Open {links.make()}")
    click.echo(f"There you are signed in as {LOCAL_ADMIN}. The link works once:")
    click.echo(f"`{user_command(settings, 'sign-in-link')}` prints another,")
    click.echo(
        f"`{user_command(settings, 'token', LOCAL_ADMIN)}` an access token for other clients."
    )

"""What a server prints when it is ready: its address and, in development, how to sign in."""

import contextlib
import logging
from collections.abc import Iterator

import click

from db.services import Services
from db.settings import Settings
from db.users import LOCAL_ADMIN, SignInLinks
from db.version import __version__

log = logging.getLogger(__name__)


@contextlib.contextmanager
def accept_sign_in_links(settings: Settings, address: str) -> Iterator[SignInLinks | None]:
    """The sign-in links of this server, None if it has none. Void when the block ends."""
    with contextlib.ExitStack() as stack:
        links = SignInLinks(settings.data_dir) if settings.allows_sign_in_links else None
        if links is not None:
            try:
                stack.enter_context(links.serving(address))
            except OSError as error:
                log.warning("no sign-in link can be kept in the data folder: %s", error.strerror)
                links = None
        yield links


async def greet(services: Services, address: str, links: SignInLinks | None) -> None:
    """Print to standard output, which is not the log: no log may hold a link that signs in."""
    settings = services.settings
    click.echo(f"Howdah {__version__} serves at {address}")
    if not settings.development or settings.log_format == "json":
        return
    await services.identity.local_admin()
    if links is None:
        click.echo(f"`howdah user token {LOCAL_ADMIN}` prints an access token for its Headers tab.")
        return
    click.echo(f"Open {links.make()}")
    click.echo(f"You are signed in there as {LOCAL_ADMIN}. The link works once;")
    click.echo("`howdah user sign-in-link` prints another one.")

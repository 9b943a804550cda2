"""What a server says when it is ready: where it is and, in development, how to come in."""

import time
from collections.abc import Mapping

import click

from db.services import Services
from db.users import LOCAL_ADMIN
from db.version import __version__


class LocalSignIn:
    """The local admin's `Authorization` header, renewed before it is half used up."""

    def __init__(self, services: Services) -> None:
        self._identity = services.identity
        self._lives_s = services.settings.access_token_seconds
        self._token = ""
        self._renew_at = 0.0

    async def headers(self) -> Mapping[str, str]:
        if time.monotonic() >= self._renew_at:
            self._renew_at = time.monotonic() + self._lives_s / 2
            self._token = await self._identity.issue(await self._identity.local_admin())
        return {"Authorization": f"Bearer {self._token}"}


async def greet(services: Services, address: str) -> None:
    """On standard output, apart from the logs: a token must be in none of them."""
    settings = services.settings
    click.echo(f"Howdah {__version__} serves at {address}")
    if settings.development and settings.log_format != "json":
        minutes = settings.access_token_seconds // 60
        click.echo(f"Signed in as {LOCAL_ADMIN} for {minutes} minutes, with the header:")
        for name, value in (await LocalSignIn(services).headers()).items():
            click.echo(f"{name}: {value}")

"""What a server says when it is ready: where it is and, in development, how to come in."""

import sys

from db.services import Services
from db.version import __version__


async def greet(services: Services, address: str) -> None:
    """On standard output, apart from the logs: a token must be in none of them."""
    lines = [f"Howdah {__version__}", f"  GraphiQL       {address}"]
    settings = services.settings
    if settings.development and settings.log_format != "json":
        identity = services.identity
        admin = await identity.local_admin()
        minutes = settings.access_token_seconds // 60
        lines += [
            f"  signed in as   {admin.email}, for {minutes} minutes, with this header:",
            f"Authorization: Bearer {await identity.issue(admin)}",
        ]
    print(*lines, sep="\n", file=sys.stdout, flush=True)  # noqa: T201 - a command line speaks

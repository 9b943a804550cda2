"""Checks of settings that depend on each other or on their form."""

import re
from ipaddress import ip_network
from typing import TYPE_CHECKING

from db.errors import BadInput
from db.mail import MailServer

if TYPE_CHECKING:
    from db.settings import Settings

_MAX_QUOTED = 60
_PUBLIC_URL = re.compile(
    r"https?://([a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(:[0-9]{1,5})?(/[a-z0-9._~/-]*)?",
    re.IGNORECASE,
)


def check_settings(settings: "Settings") -> None:
    """Check what one value alone does not show.

    Raises:
        BadInput: settings contradict each other, or one is malformed.
    """
    _check_database_urls(settings)
    _check_trusted_proxies(settings)
    _check_public_url(settings)
    _check_documents(settings)
    _check_mail(settings)


def quoted(value: str) -> str:
    """Quotes a value of the environment, shortened to one line."""
    return repr(value if len(value) <= _MAX_QUOTED else f"{value[:_MAX_QUOTED]}…")


def _check_database_urls(settings: "Settings") -> None:
    if settings.direct_database_url and not settings.database_url:
        raise BadInput(
            "HOWDAH_DIRECT_DATABASE_URL is set, but HOWDAH_DATABASE_URL is not.",
            hint="Set both, to the same database; the direct URL must not lead through a pooler.",
        )


def _check_trusted_proxies(settings: "Settings") -> None:
    for proxy in filter(None, settings.trusted_proxies.split(",")):
        try:
            ip_network(proxy.strip())
        except ValueError:
            raise BadInput(
                f"HOWDAH_TRUSTED_PROXIES names {quoted(proxy.strip())}, which is not an address.",
                hint="List addresses or networks, separated by commas: 127.0.0.1,10.0.0.0/8.",
            ) from None


def _check_public_url(settings: "Settings") -> None:
    if settings.public_url is None or _PUBLIC_URL.fullmatch(settings.public_url):
        return
    raise BadInput(
        f"HOWDAH_PUBLIC_URL is {quoted(settings.public_url)}, which is not the URL of a server.",
        hint="Set scheme and host, and the path if a proxy adds one: https://howdah.example.com.",
    )


def _check_documents(settings: "Settings") -> None:
    if settings.trusts_listed_documents_only and settings.documents_path is None:
        raise BadInput(
            "HOWDAH_DOCUMENTS is `trusted`, but HOWDAH_DOCUMENTS_PATH is not set.",
            hint="Set it to the file or folder that lists the documents of your clients.",
        )


def _check_mail(settings: "Settings") -> None:
    """A link in a mail never follows the `Host` header of a request, which anyone can choose."""
    if settings.smtp_url is None:
        return
    MailServer.parse(settings.smtp_url)
    needed = {"HOWDAH_MAIL_FROM": settings.mail_from, "HOWDAH_PUBLIC_URL": settings.public_url}
    for name, value in needed.items():
        if not value:
            raise BadInput(
                f"HOWDAH_SMTP_URL is set, but {name} is not.",
                hint="Mails need the address they are from, and the URL that their links lead to.",
            )

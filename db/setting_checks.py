"""Checks of settings by their form, or by what another setting says."""

import re
from ipaddress import ip_network
from pathlib import Path

from db.errors import BadInput
from db.mail import MailServer

_MAX_QUOTED = 60
_PUBLIC_URL = re.compile(
    r"https?://([a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(:[0-9]{1,5})?(/[a-z0-9._~/-]*)?",
    re.IGNORECASE,
)


def quoted(value: str) -> str:
    """Quotes a value of the environment, shortened to one line."""
    return repr(value if len(value) <= _MAX_QUOTED else f"{value[:_MAX_QUOTED]}…")


def check_database_urls(url: str | None, direct_url: str | None) -> None:
    if direct_url and not url:
        raise BadInput(
            "HOWDAH_DIRECT_DATABASE_URL is set, but HOWDAH_DATABASE_URL is not.",
            hint="Set both, to the same database; the direct URL must not lead through a pooler.",
        )


def check_trusted_proxies(proxies: str) -> None:
    for proxy in filter(None, proxies.split(",")):
        try:
            ip_network(proxy.strip())
        except ValueError:
            raise BadInput(
                f"HOWDAH_TRUSTED_PROXIES names {quoted(proxy.strip())}, which is not an address.",
                hint="List addresses or networks, separated by commas: 127.0.0.1,10.0.0.0/8.",
            ) from None


def check_public_url(url: str | None) -> None:
    if url is None or _PUBLIC_URL.fullmatch(url):
        return
    raise BadInput(
        f"HOWDAH_PUBLIC_URL is {quoted(url)}, which is not the URL of a server.",
        hint="Set scheme and host, and the path if a proxy adds one: https://howdah.example.com.",
    )


def check_documents(documents: str, path: Path | None) -> None:
    if documents == "trusted" and path is None:
        raise BadInput(
            "HOWDAH_DOCUMENTS is `trusted`, but HOWDAH_DOCUMENTS_PATH is not set.",
            hint="Set it to the file or folder that lists the documents of your clients.",
        )


def check_mail(smtp_url: str | None, mail_from: str | None, public_url: str | None) -> None:
    """A link in a mail never follows the `Host` header of a request, which anyone can choose."""
    if smtp_url is None:
        return
    MailServer.parse(smtp_url)
    needed = {"HOWDAH_MAIL_FROM": mail_from, "HOWDAH_PUBLIC_URL": public_url}
    for name, value in needed.items():
        if not value:
            raise BadInput(
                f"HOWDAH_SMTP_URL is set, but {name} is not.",
                hint="Mails need the address they are from, and the URL that their links lead to.",
            )

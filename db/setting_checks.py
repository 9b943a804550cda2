"""Checks of single settings, which do not depend on others."""

import re
from ipaddress import ip_network

from db.errors import BadInput
from db.mail import MailServer

_MAX_QUOTED = 60
_PUBLIC_URL = re.compile(
    r"https?://([a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(:[0-9]{1,5})?(/[a-z0-9._~/-]*)?",
    re.IGNORECASE,
)


def check_trusted_proxies(trusted_proxies: str) -> None:
    for proxy in filter(None, trusted_proxies.split(",")):
        try:
            ip_network(proxy.strip())
        except ValueError:
            raise BadInput(
                f"HOWDAH_TRUSTED_PROXIES names {quoted(proxy.strip())}, which is not an address.",
                hint="List addresses or networks, separated by commas: 127.0.0.1,10.0.0.0/8.",
            ) from None


def check_public_url(public_url: str | None) -> None:
    if public_url is None or _PUBLIC_URL.fullmatch(public_url):
        return
    raise BadInput(
        f"HOWDAH_PUBLIC_URL is {quoted(public_url)}, which is not the URL of a server.",
        hint="Set scheme and host, and the path if a proxy adds one: https://howdah.example.com.",
    )


def check_mail(smtp_url: str | None, mail_from: str | None, public_url: str | None) -> None:
    """A link in a mail never follows the `Host` header of a request, which anyone can choose."""
    if smtp_url is None:
        return
    MailServer.parse(smtp_url)
    for name, value in (("HOWDAH_MAIL_FROM", mail_from), ("HOWDAH_PUBLIC_URL", public_url)):
        if not value:
            raise BadInput(
                f"HOWDAH_SMTP_URL is set, but {name} is not.",
                hint="Mails need the address they are from, and the URL that their links lead to.",
            )


def quoted(value: str) -> str:
    """Quotes a value of the environment, shortened to one line."""
    return repr(value if len(value) <= _MAX_QUOTED else f"{value[:_MAX_QUOTED]}…")

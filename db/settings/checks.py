"""Checks of settings by their form, or by what another setting says."""

import re
from collections.abc import Mapping
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


def check_database_urls(url: str | None, direct_url: str | None, read_urls: str | None) -> None:
    if direct_url and not url:
        raise BadInput(
            "HOWDAH_DIRECT_DATABASE_URL is set, but HOWDAH_DATABASE_URL is not.",
            hint="Set both, to the same database; the direct URL must not lead through a pooler.",
        )
    if read_urls and not url:
        raise BadInput(
            "HOWDAH_READ_DATABASE_URLS is set, but HOWDAH_DATABASE_URL is not.",
            hint="Set HOWDAH_DATABASE_URL to the primary of these standbys.",
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


def split_claim(claim: str) -> tuple[str, str]:
    name, _, value = claim.partition("=")
    return name.strip(), value.strip()


def check_issuer(
    *, jwks_url: str | None, has_key: bool, expected: Mapping[str, str | None]
) -> None:
    """`expected` is what external tokens must contain, by the name of the setting."""
    if jwks_url and not jwks_url.startswith("https://"):
        raise BadInput(
            "HOWDAH_JWKS_URL is not an https address.",
            hint="Use the https URL of the issuer: keys fetched over http can be forged.",
        )
    if jwks_url and not expected["jwt_issuer"]:
        raise BadInput(
            "HOWDAH_JWKS_URL is set, but HOWDAH_JWT_ISSUER is not.",
            hint="Set the issuer whose tokens these keys may sign.",
        )
    if has_key and not expected["jwt_audience"]:
        raise BadInput(
            "An external issuer is set, but HOWDAH_JWT_AUDIENCE is not.",
            hint="Set the audience that the issuer puts into tokens for Howdah: without it, tokens "
            "for every other application of the issuer would be accepted.",
        )
    claim = expected["jwt_required_claim"]
    if claim is not None and not all(split_claim(claim)):
        raise BadInput(
            f"HOWDAH_JWT_REQUIRED_CLAIM is {quoted(claim)}, "
            "which does not name a claim and its value.",
            hint="Set it to claim=value, such as groups=howdah-users.",
        )
    for name, value in expected.items():
        if value and not has_key:
            raise BadInput(
                f"HOWDAH_{name.upper()} is set, but there is no key to verify external tokens.",
                hint="Set HOWDAH_JWKS_URL or HOWDAH_JWT_SECRET, or unset this variable.",
            )

"""Sends mail through the server of HOWDAH_SMTP_URL, by the standard library in a thread.

A mail with a link is a credential: except on loopback it is sent over TLS only, with a verified
certificate, and so is the password of the mail server.
"""

import asyncio
import logging
import ssl
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from db.errors import BadInput, Unavailable

if TYPE_CHECKING:
    from email.message import EmailMessage

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
_PORTS = {"smtp": 587, "smtps": 465}


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """The parts of HOWDAH_SMTP_URL: `smtp` begins with STARTTLS, `smtps` with TLS."""

    scheme: str
    host: str
    port: int
    username: str | None
    password: str | None = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> "MailServer":
        """Raises BadInput, without the URL, which may contain a password."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in _PORTS or not parts.hostname or parts.path.strip("/"):
            raise BadInput(
                "HOWDAH_SMTP_URL is not the URL of a mail server.",
                hint="Set it to smtp://user:password@host:587 (STARTTLS) or smtps://host:465.",
            )
        return cls(
            scheme=parts.scheme,
            host=parts.hostname,
            port=port or _PORTS[parts.scheme],
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
        )

    @property
    def on_loopback(self) -> bool:
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


class Mail:
    def __init__(
        self, server: MailServer, sender: str, *, tls: ssl.SSLContext | None = None
    ) -> None:
        """`tls` replaces the certificate authorities of the system, in tests."""
        self._server = server
        self._sender = sender
        self._tls = tls

    async def send(self, to: str, subject: str, text: str) -> None:
        """Raises Unavailable if the mail server does not take the mail."""
        from email.message import EmailMessage  # with smtplib, 20 ms of a start that sends no mail

        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self._sender, to, subject
        message["Auto-Submitted"] = "auto-generated"  # no reply of a vacation program
        message.set_content(text)
        try:
            await asyncio.to_thread(self._send, message)
        except OSError as error:  # also smtplib's errors, which may quote what was sent
            log.warning("the mail server did not take a mail (%s)", type(error).__name__)
            raise Unavailable(
                "The mail server did not take the mail.",
                hint="Check HOWDAH_SMTP_URL and the log of the mail server.",
            ) from None

    def _send(self, message: "EmailMessage") -> None:
        import smtplib

        server, tls = self._server, self._tls or ssl.create_default_context()
        if server.scheme == "smtps":
            connection: smtplib.SMTP = smtplib.SMTP_SSL(
                server.host, server.port, timeout=TIMEOUT_S, context=tls
            )
        else:
            connection = smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_S)
        with connection:
            connection.ehlo()
            if server.scheme == "smtp" and not (
                server.on_loopback and not connection.has_extn("starttls")
            ):
                connection.starttls(context=tls)  # an error if the server does not offer it
            if server.username is not None:
                connection.login(server.username, server.password or "")
            connection.send_message(message)

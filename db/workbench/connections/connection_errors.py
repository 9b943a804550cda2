"""Why no connection came about, in words, with a hint. Never what the other side said unasked.

libpq gives no SQLSTATE for a failed connection, so its text is read; libpq's own is always English.
What does not speak PostgreSQL looks like what does not answer: no probing of other services.
"""

import re

from db.connections import SshAuthMethod
from db.errors import BadInput, Conflict, HowdahError, Unavailable
from db.workbench.connections.destinations import Bastion, Destination

_SAID = re.compile(r"failed: \w+:  (.+)")  # FATAL in any language, as only PostgreSQL frames it
_MEANINGS: tuple[tuple[str, str, str, str], ...] = (
    (
        "no password supplied",
        "password",
        "The server requires a password, and none is stored.",
        "Connect with the password, or save it with the connection.",
    ),
    (
        "password authentication failed",
        "password",
        "The server refused this user or password.",
        "Check both: they are those of the database, not of your Howdah account.",
    ),
    (
        "cleartext password",
        "sslMode",
        "The server requested the password in clear text, so it was not sent.",
        "Use VERIFY_FULL, or configure the server for scram-sha-256.",
    ),
    (
        "server does not support SSL",
        "sslMode",
        "The server does not support TLS, which this connection requires.",
        "Enable TLS on the server, or use PREFER if you trust the network.",
    ),
    (
        "does not match host name",
        "host",
        "The server's certificate is for another host name.",
        "Use the host name in the certificate, or VERIFY_CA if the names cannot match.",
    ),
    (
        "certificate verify failed",
        "sslRootCertificate",
        "The server's certificate is not signed by a trusted authority.",
        "Pass the certificate of the server's authority as `sslRootCertificate`.",
    ),
    (
        "is not permitted to log in",
        "username",
        "This role is not permitted to log in.",
        "Use another role, or run ALTER ROLE ... LOGIN.",
    ),
)
_UNKNOWN_DATABASE = re.compile(r'database ".*" does not exist')
_UNKNOWN_ROLE = re.compile(r'role ".*" does not exist')


class Unreachable(Unavailable):
    """Refused, silent, or no PostgreSQL: after a few of these the breaker opens."""


class HostKeyUnconfirmed(Conflict):
    """An SSH server met for the first time, or one that has another key than before."""

    def __init__(self, message: str, *, hint: str, fingerprint: str) -> None:
        super().__init__(message, hint=hint, field="sshTunnel.hostKeyFingerprint")
        self.fingerprint = fingerprint


def unreachable(destination: Destination) -> Unreachable:
    through = " through the tunnel" if destination.bastion else ""
    lets = " and accepts connections from the SSH server" if destination.bastion else ""
    return Unreachable(
        f"No PostgreSQL server responded at {destination.place}{through}.",
        hint=f"Check host and port, that the server runs{lets}, and that no firewall blocks it.",
        field="host",
    )


def explained(error: Exception, destination: Destination) -> HowdahError:
    """What a failed attempt to connect means."""
    text = str(error)
    for part, field, message, hint in _MEANINGS:
        if part in text:
            return BadInput(message, hint=hint, field=field)
    if _UNKNOWN_DATABASE.search(text):
        return BadInput(
            f"The database {destination.database} does not exist on this server.",
            hint="Check its name, which is case-sensitive.",
            field="database",
        )
    if _UNKNOWN_ROLE.search(text):
        return BadInput(
            f"The role {destination.username} does not exist on this server.",
            hint="Check its name, which is case-sensitive.",
            field="username",
        )
    if said := _SAID.search(text):
        return Unavailable(
            f"The server refused the connection: {said[1][:300]}",
            hint="Ask the administrator of the server: this is the message of PostgreSQL.",
        )
    return unreachable(destination)


def tunnel_unreachable(bastion: Bastion) -> Unreachable:
    return Unreachable(
        f"No SSH server responded at {bastion.host}:{bastion.port}.",
        hint="Check host and port of the tunnel, and that no firewall blocks it.",
        field="sshTunnel.host",
    )


def tunnel_refused(bastion: Bastion) -> BadInput:
    what = "password" if bastion.auth_method == SshAuthMethod.PASSWORD else "key"
    return BadInput(
        f"The SSH server refused this user or {what}.",
        hint="Check them: they are those of the SSH server, not of the database.",
        field="sshTunnel",
    )


def host_key_unconfirmed(bastion: Bastion, fingerprint: str) -> HostKeyUnconfirmed:
    if bastion.fingerprint is None:
        return HostKeyUnconfirmed(
            f"The host key of the SSH server {bastion.host} is not confirmed yet: {fingerprint}.",
            hint="Compare it with the fingerprint from its administrator, then save it as "
            "`sshTunnel.hostKeyFingerprint`.",
            fingerprint=fingerprint,
        )
    return HostKeyUnconfirmed(
        f"The SSH server {bastion.host} has another host key than before: {fingerprint}.",
        hint="Ask its administrator. Save the new fingerprint only if they changed the key: "
        "otherwise the connection may be intercepted.",
        fingerprint=fingerprint,
    )

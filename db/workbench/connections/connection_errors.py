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
        "The server asks for a password, and none is stored.",
        "Connect with the password, or save it with the connection.",
    ),
    (
        "password authentication failed",
        "password",
        "The server refused this user or password.",
        "Check both; they are the database's, not Howdah's.",
    ),
    (
        "cleartext password",
        "sslMode",
        "The server asked for the password in clear text, and it was not sent.",
        "With VERIFY_FULL it may be sent; else the server must offer scram-sha-256.",
    ),
    (
        "server does not support SSL",
        "sslMode",
        "The server offers no TLS, and this connection insists on it.",
        "Switch TLS on at the server, or choose PREFER where the network is trusted.",
    ),
    (
        "does not match host name",
        "host",
        "The server's certificate is for another name.",
        "Use the host name that is in the certificate, or VERIFY_CA if the names cannot match.",
    ),
    (
        "certificate verify failed",
        "sslRootCertificate",
        "The server's certificate is not signed by an authority that is trusted.",
        "Paste the certificate of the server's authority as `sslRootCertificate`.",
    ),
    (
        "is not permitted to log in",
        "username",
        "This role is not permitted to log in.",
        "Choose another user, or ALTER ROLE ... LOGIN.",
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
    lets = " and lets the tunnel through" if destination.bastion else ""
    return Unreachable(
        f"No PostgreSQL answered at {destination.place}{through}.",
        hint=f"Check host and port, that the server runs{lets}, and that no firewall is between.",
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
            f"There is no database {destination.database} on this server.",
            hint="Check its name; upper and lower case differ.",
            field="database",
        )
    if _UNKNOWN_ROLE.search(text):
        return BadInput(
            f"There is no user {destination.username} on this server.",
            hint="Check its name; upper and lower case differ.",
            field="username",
        )
    if said := _SAID.search(text):
        return Unavailable(
            f"The server does not let us in: {said[1][:300]}",
            hint="This is what PostgreSQL says; its administrator can tell more.",
        )
    return unreachable(destination)


def tunnel_unreachable(bastion: Bastion) -> Unreachable:
    return Unreachable(
        f"No SSH server answered at {bastion.host}:{bastion.port}.",
        hint="Check host and port of the tunnel, and that no firewall is between.",
        field="sshTunnel.host",
    )


def tunnel_refused(bastion: Bastion) -> BadInput:
    what = "password" if bastion.auth_method == SshAuthMethod.PASSWORD else "key"
    return BadInput(
        f"The SSH server refused this user or {what}.",
        hint="Check user and login of the tunnel; they are the SSH server's, not the database's.",
        field="sshTunnel",
    )


def host_key_unconfirmed(bastion: Bastion, fingerprint: str) -> HostKeyUnconfirmed:
    if bastion.fingerprint is None:
        return HostKeyUnconfirmed(
            f"The SSH server {bastion.host} is met for the first time; its key is {fingerprint}.",
            hint="Compare this with what its administrator says, then save it as "
            "`sshTunnel.hostKeyFingerprint`.",
            fingerprint=fingerprint,
        )
    return HostKeyUnconfirmed(
        f"The SSH server {bastion.host} has another key than before: {fingerprint}.",
        hint="Someone may stand between. Only if its administrator has changed the key, save the "
        "new fingerprint.",
        fingerprint=fingerprint,
    )

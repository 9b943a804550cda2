"""The errors of failed connections. They repeat the text of PostgreSQL servers only.

libpq returns no SQLSTATE for a failed connection, so its message is parsed; libpq's own messages
are always English. A service that is not PostgreSQL gives the same error as a closed port, so
that connections cannot be used to probe other services.
"""

import re

from db.connections import SshAuthMethod
from db.errors import BadInput, Conflict, HowdahError, Unavailable
from db.workbench.connections.targets.destinations import Bastion, Destination

MAX_SCRAM_ITERATIONS = 100_000
"""Of a login with a password. PostgreSQL's default is 4,096; this number takes 70 ms."""
TOO_MANY_SCRAM_ITERATIONS = "too many SCRAM iterations"

_SERVER_MESSAGE = re.compile(
    r"failed: \w+:  (.+)"
)  # FATAL in any language; only PostgreSQL sends this form
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
        "Check the user name and password of the database; they are not those of Howdah.",
    ),
    (
        TOO_MANY_SCRAM_ITERATIONS,
        "host",
        f"The server demands more than {MAX_SCRAM_ITERATIONS:,} iterations of SCRAM.",
        "Lower `scram_iterations` at the server, then set the password of the role again.",
    ),
    (
        "wrong cipher returned",
        "sslMode",
        "The server uses TLS with finite-field Diffie-Hellman, which may take seconds.",
        "Allow ECDHE in `ssl_ciphers` at the server.",
    ),
    (
        "cleartext password",
        "sslMode",
        "The server requested the password in clear text; it was not sent.",
        "Use VERIFY_FULL, or configure scram-sha-256 at the server.",
    ),
    (
        "server does not support SSL",
        "sslMode",
        "The server does not support TLS, and this connection requires it.",
        "Enable TLS at the server, or use PREFER in a trusted network.",
    ),
    (
        "does not match host name",
        "host",
        "The server's certificate was issued for another host name.",
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
    """The host refused, timed out or is not PostgreSQL. Several of these open the breaker."""


class HostKeyUnconfirmed(Conflict):
    """The host key of an SSH server is not confirmed, or differs from the confirmed one."""

    def __init__(self, message: str, *, hint: str, fingerprint: str) -> None:
        super().__init__(message, hint=hint, field="sshTunnel.hostKeyFingerprint")
        self.fingerprint = fingerprint


def unreachable(destination: Destination) -> Unreachable:
    through = " through the tunnel" if destination.bastion else ""
    permits = " and accepts the tunnel" if destination.bastion else ""
    return Unreachable(
        f"No PostgreSQL answered at {destination.place}{through}.",
        hint=f"Check host and port, that the server runs{permits}, and that no firewall blocks it.",
        field="host",
    )


def connection_error(error: Exception, destination: Destination) -> HowdahError:
    """Translates the exception of a failed attempt to connect."""
    text = str(error)
    for part, field, message, hint in _MEANINGS:
        if part in text:
            return BadInput(message, hint=hint, field=field)
    if _UNKNOWN_DATABASE.search(text):
        return BadInput(
            f"The database {destination.database} does not exist on this server.",
            hint="Check the name; it is case-sensitive.",
            field="database",
        )
    if _UNKNOWN_ROLE.search(text):
        return BadInput(
            f"The user {destination.username} does not exist on this server.",
            hint="Check the name; it is case-sensitive.",
            field="username",
        )
    if found := _SERVER_MESSAGE.search(text):
        return Unavailable(
            f"The server refused the connection: {found[1][:300]}",
            hint="The message is from PostgreSQL; ask its administrator.",
        )
    return unreachable(destination)


def tunnel_unreachable(bastion: Bastion) -> Unreachable:
    return Unreachable(
        f"No SSH server answered at {bastion.host}:{bastion.port}.",
        hint="Check host and port of the tunnel, and that no firewall blocks it.",
        field="sshTunnel.host",
    )


def tunnel_refused(bastion: Bastion) -> BadInput:
    secret = "password" if bastion.auth_method == SshAuthMethod.PASSWORD else "key"
    return BadInput(
        f"The SSH server refused this user or {secret}.",
        hint="Check the tunnel's user and secret; they are not those of the database.",
        field="sshTunnel",
    )


def host_key_unconfirmed(bastion: Bastion, fingerprint: str) -> HostKeyUnconfirmed:
    if bastion.fingerprint is None:
        return HostKeyUnconfirmed(
            f"The host key of the SSH server {bastion.host} is not confirmed: {fingerprint}.",
            hint="Compare it with the fingerprint from the administrator, then save it as "
            "`sshTunnel.hostKeyFingerprint`.",
            fingerprint=fingerprint,
        )
    return HostKeyUnconfirmed(
        f"The SSH server {bastion.host} has another key than before: {fingerprint}.",
        hint="The connection may be intercepted. Save the new fingerprint only if the "
        "administrator confirms that the key was changed.",
        fingerprint=fingerprint,
    )


def connection_closed() -> Unavailable:
    return Unavailable("The connection was closed.", hint="Connect again, then repeat the request.")


def destination_changed() -> Conflict:
    return Conflict(
        "The destination of the connection was changed while it was being opened.",
        hint="Check the saved destination, then connect again.",
    )

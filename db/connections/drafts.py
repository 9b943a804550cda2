"""What somebody typed into the form of a connection, checked and taken apart."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from db.connections import pem
from db.connections.rules import RULES, SECRET_RULES, SshAuthMethod, SslMode
from db.errors import BadInput

SECRETS = ("password", "ssh_password", "ssh_private_key", "ssh_passphrase")
"""Each stands sealed in a column of its own: `sealed_password` and so on."""

_TUNNEL = ("host", "port", "username", "auth_method", "host_key_fingerprint")
_NO_TUNNEL: Mapping[str, Any] = {f"ssh_{name}": None for name in _TUNNEL}
_DEFAULTS: Mapping[str, Any] = {
    "port": 5432,
    "ssl_mode": SslMode.PREFER,
    "ssl_root_certificate": None,
    "read_only": False,
    "statement_timeout_ms": None,
    **_NO_TUNNEL,
}
_NEEDED = ("name", "host", "database", "username")


class Draft(NamedTuple):
    """Columns to set, and secrets to keep by their names; a secret that is None is removed."""

    values: dict[str, Any]
    secrets: dict[str, str | None]


async def draft(given: Mapping[str, Any]) -> Draft:
    """Checks each field that is given; a tunnel replaces the one before it, or null removes it."""
    values: dict[str, Any] = {}
    secrets: dict[str, str | None] = {}
    for name, value in given.items():
        if name == "ssh_tunnel":
            await _take_tunnel(value, values, secrets)
        elif name in SECRET_RULES:
            secrets[name] = SECRET_RULES[name].checked(value)
        elif name == "ssl_root_certificate":
            values[name] = None if not value else await _parsed(pem.root_certificates, value)
        elif name == "read_only":
            values[name] = bool(value)
        else:
            values[name] = RULES[name].checked(value)
    return Draft(values, secrets)


def completed(values: Mapping[str, Any], *, needed: Collection[str] = _NEEDED) -> dict[str, Any]:
    """All columns of a new connection; what was not typed has its usual value."""
    for name in needed:
        if name not in values:
            RULES[name].checked(None)
    return {**_DEFAULTS, **values}


def check_whole(values: Mapping[str, Any], *, kept: Collection[str], agent: bool) -> None:
    """What fields ask of each other; `kept` are the secrets there will be."""
    if values["ssl_mode"] == SslMode.VERIFY_CA and not values["ssl_root_certificate"]:
        raise BadInput(
            "VERIFY_CA needs the certificate of the authority.",
            hint="Paste it as `sslRootCertificate`, or take VERIFY_FULL, which knows the public "
            "authorities.",
            field="sslRootCertificate",
        )
    if values["ssh_auth_method"] == SshAuthMethod.PRIVATE_KEY and "ssh_private_key" not in kept:
        raise BadInput(
            "The SSH tunnel has no private key.",
            hint="Paste it as `sshTunnel.privateKey`, or choose another `authMethod`.",
            field="sshTunnel.privateKey",
        )
    if values["ssh_auth_method"] == SshAuthMethod.AGENT and not agent:
        raise BadInput(
            "This server lends its SSH agent to nobody.",
            hint="Choose PRIVATE_KEY or PASSWORD; AGENT is for development on your own machine.",
            field="sshTunnel.authMethod",
        )


async def _take_tunnel(
    tunnel: Mapping[str, Any] | None, values: dict[str, Any], secrets: dict[str, str | None]
) -> None:
    if tunnel is None:
        values |= _NO_TUNNEL
        secrets |= dict.fromkeys(SECRETS[1:])
        return
    plain = {"port": 22, "host_key_fingerprint": None} | dict(tunnel)
    for name in _TUNNEL:
        values[f"ssh_{name}"] = RULES[f"ssh_{name}"].checked(plain.get(name))
    await _take_tunnel_secrets(tunnel, values["ssh_auth_method"], secrets)


async def _take_tunnel_secrets(
    tunnel: Mapping[str, Any], method: str, secrets: dict[str, str | None]
) -> None:
    """Those of another method go; those of this one stay unless new ones are given."""
    if method != SshAuthMethod.PASSWORD:
        secrets["ssh_password"] = None
    elif "password" in tunnel:
        secrets["ssh_password"] = SECRET_RULES["ssh_password"].checked(tunnel["password"])
    if method != SshAuthMethod.PRIVATE_KEY:
        secrets |= {"ssh_private_key": None, "ssh_passphrase": None}
    elif tunnel.get("private_key") is not None:
        passphrase = SECRET_RULES["ssh_passphrase"].checked(tunnel.get("passphrase"))
        secrets["ssh_private_key"] = await _parsed(
            pem.private_key, tunnel["private_key"], passphrase
        )
        secrets["ssh_passphrase"] = passphrase


async def _parsed(parse: Callable[..., str], *arguments: Any) -> str:
    """In a thread: it takes its time, and nobody else's."""
    return await asyncio.to_thread(parse, *arguments)

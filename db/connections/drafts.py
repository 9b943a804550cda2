"""Validates the fields of a connection form and separates its secrets from its columns."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from db.connections import pem
from db.connections.rules import (
    RULES,
    SECRET_RULES,
    TYPED_SECRET_RULES,
    SshAuthMethod,
    SslMode,
)
from db.errors import BadInput
from db.security.key_threads import KEY_THREADS

SECRETS = ("password", "ssh_password", "ssh_private_key")
"""Each is sealed in its own column: `sealed_password` and so on."""
TYPED_SECRETS = tuple(TYPED_SECRET_RULES)
"""The secrets that can be typed to open a connection, without being saved with it."""

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
REQUIRED = ("name", "host", "database", "username")
REQUIRED_TO_CONNECT = REQUIRED[1:]


class Draft(NamedTuple):
    """Columns to set, and secrets to store by name; a secret that is None is removed."""

    values: dict[str, Any]
    secrets: dict[str, str | None]

    def __repr__(self) -> str:
        """Omits the secrets: a repr ends up in logs."""
        return f"Draft(values={self.values!r}, secrets=...)"


def checked_typed_secrets(fields: Mapping[str, Any]) -> dict[str, str]:
    """The typed secrets of an input; those that are empty or null are as if omitted."""
    return {
        name: rule.checked(fields[name])
        for name, rule in TYPED_SECRET_RULES.items()
        if fields.get(name)
    }


async def parse_draft(fields: Mapping[str, Any], *, owner: UUID | None = None) -> Draft:
    """Validates each field. A tunnel replaces the previous one; a null tunnel removes it.

    Keys and certificates of one `owner` are parsed one at a time.
    """
    values: dict[str, Any] = {}
    secrets: dict[str, str | None] = {}
    for name, value in fields.items():
        if name == "ssh_tunnel":
            await _parse_tunnel(value, values, secrets, owner)
        elif name in SECRET_RULES:
            secrets[name] = SECRET_RULES[name].checked(value)
        elif name == "ssl_root_certificate":
            values[name] = (
                None if not value else await KEY_THREADS.run(owner, pem.root_certificates, value)
            )
        else:
            values[name] = RULES[name].checked(value)
    return Draft(values, secrets)


def require_fields(fields: Mapping[str, Any], needed: Sequence[str] = REQUIRED) -> None:
    """Call this before `draft` for a new connection: one error names all that is missing.

    Raises:
        BadInput: a field in `needed` is absent, null or empty.
    """
    missing = [name for name in needed if fields.get(name) in {None, ""}]
    if missing:
        raise BadInput(
            f"{_listed(missing)} {'is' if len(missing) == 1 else 'are'} missing.",
            hint=f"Pass {_listed(needed)}, or the `id` of a saved connection.",
            field=missing[0],
        )


def with_defaults(values: Mapping[str, Any], *, needed: Sequence[str] = REQUIRED) -> dict[str, Any]:
    """All columns of a new connection. Raises BadInput if a required one is missing."""
    require_fields(values, needed)
    return {**_DEFAULTS, **values}


def check_connection(values: Mapping[str, Any], *, secrets: Collection[str], agent: bool) -> None:
    """Checks fields that depend on each other. `secrets` are those stored after the change."""
    if values["ssl_mode"] == SslMode.VERIFY_CA and not values["ssl_root_certificate"]:
        raise BadInput(
            "VERIFY_CA requires the certificate of the authority.",
            hint="Pass it as `sslRootCertificate`, or use VERIFY_FULL, which trusts the public "
            "authorities.",
            field="sslRootCertificate",
        )
    if values["ssh_auth_method"] == SshAuthMethod.PRIVATE_KEY and "ssh_private_key" not in secrets:
        raise BadInput(
            "The SSH tunnel has no private key.",
            hint="Pass it as `sshTunnel.privateKey`, or choose another `authMethod`.",
            field="sshTunnel.privateKey",
        )
    if values["ssh_auth_method"] == SshAuthMethod.AGENT and not agent:
        raise BadInput(
            "This server does not allow the use of its SSH agent.",
            hint="Choose PRIVATE_KEY or PASSWORD; AGENT is for development on your own machine.",
            field="sshTunnel.authMethod",
        )


def _listed(names: Sequence[str]) -> str:
    *others, last = (f"`{name}`" for name in names)
    return f"{', '.join(others)} and {last}" if others else last


async def _parse_tunnel(
    tunnel: Mapping[str, Any] | None,
    values: dict[str, Any],
    secrets: dict[str, str | None],
    owner: UUID | None,
) -> None:
    if tunnel is None:
        values |= _NO_TUNNEL
        secrets |= dict.fromkeys(SECRETS[1:])
        return
    fields = {"port": 22, "host_key_fingerprint": None} | dict(tunnel)
    for name in _TUNNEL:
        values[f"ssh_{name}"] = RULES[f"ssh_{name}"].checked(fields.get(name))
    await _parse_tunnel_secrets(tunnel, values["ssh_auth_method"], secrets, owner)


async def _parse_tunnel_secrets(
    tunnel: Mapping[str, Any],
    method: str,
    secrets: dict[str, str | None],
    owner: UUID | None,
) -> None:
    """Removes secrets of other methods. Those of this method stay unless they are replaced."""
    if method != SshAuthMethod.PASSWORD:
        secrets["ssh_password"] = None
    elif "password" in tunnel:
        secrets["ssh_password"] = SECRET_RULES["ssh_password"].checked(tunnel["password"])
    if method != SshAuthMethod.PRIVATE_KEY:
        secrets["ssh_private_key"] = None
    elif tunnel.get("private_key") is not None:
        passphrase = SECRET_RULES["ssh_passphrase"].checked(tunnel.get("passphrase"))
        secrets["ssh_private_key"] = await KEY_THREADS.run(
            owner, pem.private_key, tunnel["private_key"], passphrase
        )

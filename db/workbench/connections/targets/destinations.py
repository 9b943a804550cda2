"""The address, credentials and TLS settings of a user's database, and of its SSH server."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from db.connections import ConnectionRow
from db.connections.binding import DESTINATION


@dataclass(frozen=True, slots=True, kw_only=True)
class Bastion:
    """The SSH server of a tunnel."""

    host: str
    port: int
    username: str
    auth_method: str
    fingerprint: str | None
    password: str | None = field(default=None, repr=False)
    private_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A user's database. Its `repr` holds no secret."""

    host: str
    port: int
    database: str
    username: str
    ssl_mode: str
    ssl_root_certificate: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    bastion: Bastion | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any], secrets: Mapping[str, str | None]) -> "Destination":
        """Combines the columns of a saved connection with its secrets, by name."""
        return cls(
            host=values["host"],
            port=values["port"],
            database=values["database"],
            username=values["username"],
            ssl_mode=values["ssl_mode"],
            ssl_root_certificate=values["ssl_root_certificate"],
            password=secrets.get("password"),
            bastion=_bastion(values, secrets) if values["ssh_host"] else None,
        )

    @property
    def place(self) -> str:
        return f"{self.host}:{self.port}"


def destination_of(row: ConnectionRow) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for name in DESTINATION)


def _bastion(values: Mapping[str, Any], secrets: Mapping[str, str | None]) -> Bastion:
    return Bastion(
        host=values["ssh_host"],
        port=values["ssh_port"],
        username=values["ssh_username"],
        auth_method=values["ssh_auth_method"],
        fingerprint=values["ssh_host_key_fingerprint"],
        password=secrets.get("ssh_password"),
        private_key=secrets.get("ssh_private_key"),
    )

"""Rules for the fields of a saved connection. Other servers' names and passwords are verbatim."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Any

from db.errors import BadInput
from db.kit.number_rules import require_between
from db.kit.text_rules import Required

LONGEST_TIMEOUT_MS = 3_600_000
MAX_HOST_LENGTH = 253
MAX_NAME_LENGTH = 200
MAX_PASSWORD_LENGTH = 10_000  # cloud providers use tokens as passwords
MAX_SSH_SECRET_LENGTH = 1_000

name_rule = Required("name", max_length=100)

_HOST = re.compile(r"(?!-)[\w-]{1,63}(?:\.[\w-]{1,63})*\.?")
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


class SslMode(StrEnum):
    DISABLE = "DISABLE"
    PREFER = "PREFER"
    REQUIRE = "REQUIRE"
    VERIFY_CA = "VERIFY_CA"
    VERIFY_FULL = "VERIFY_FULL"


class SshAuthMethod(StrEnum):
    PASSWORD = "PASSWORD"  # noqa: S105 - the name of a method
    PRIVATE_KEY = "PRIVATE_KEY"
    AGENT = "AGENT"


@dataclass(frozen=True, slots=True)
class Exact:
    """A text that another server compares, so it is neither trimmed nor normalized."""

    field: str
    max_length: int

    def checked(self, text: str | None) -> str:
        if not text:
            problem = "is empty"
            hint = "Pass it as your server knows it, or omit it: an update keeps the stored one."
        elif len(text) > self.max_length:
            problem = f"is longer than {self.max_length} characters"
            hint = f"Pass at most {self.max_length} characters."
        elif not _can_be_sent(text):
            problem = "contains a character that PostgreSQL cannot receive"
            hint = "Remove null characters and unpaired surrogates."
        else:
            return text
        raise BadInput(f"`{self.field}` {problem}.", hint=hint, field=self.field)


@dataclass(frozen=True, slots=True)
class Host:
    """A host name or IP address; never a path, a list or an option."""

    field: str

    def checked(self, text: str | None) -> str:
        host = (text or "").strip().removeprefix("[").removesuffix("]")
        if len(host) > MAX_HOST_LENGTH or not (_HOST.fullmatch(host) or _is_address(host)):
            raise BadInput(
                f"`{self.field}` is not a host name or IP address.",
                hint="Pass a name such as db.example.com or an IP address, without the port.",
                field=self.field,
            )
        return host


@dataclass(frozen=True, slots=True)
class IntegerRange:
    field: str
    least: int
    most: int

    def checked(self, number: int | None) -> int:
        return require_between(self.field, number, self.least, self.most)


@dataclass(frozen=True, slots=True)
class OneOf:
    field: str
    choices: tuple[str, ...]

    def checked(self, value: str | None) -> str:
        if value not in self.choices:
            raise BadInput(
                f"`{self.field}` is not one of {', '.join(self.choices)}.",
                hint="Pass one of these values.",
                field=self.field,
            )
        return value


@dataclass(frozen=True, slots=True)
class TrueOrFalse:
    """Refuses null: it would end the protection of a read-only connection unnoticed."""

    field: str

    def checked(self, value: Any) -> Any:
        if value is None:
            raise BadInput(
                f"`{self.field}` is null.", hint="Pass true or false, or omit it.", field=self.field
            )
        return value


@dataclass(frozen=True, slots=True)
class Nullable:
    """Accepts null; other values must satisfy `rule`."""

    rule: Any

    def checked(self, value: Any) -> Any:
        return None if value is None else self.rule.checked(value)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The fingerprint of an SSH host key, as ssh prints it."""

    field: str

    def checked(self, text: str) -> str:
        if not _FINGERPRINT.fullmatch(text.strip()):
            raise BadInput(
                f"`{self.field}` is not the fingerprint of an SSH host key.",
                hint="Pass `SHA256:` and 43 characters, as `testConnection` reports it.",
                field=self.field,
            )
        return text.strip()


RULES: Mapping[str, Any] = {
    "name": name_rule,
    "host": Host("host"),
    "port": IntegerRange("port", 1, 65_535),
    "database": Exact("database", max_length=MAX_NAME_LENGTH),
    "username": Exact("username", max_length=MAX_NAME_LENGTH),
    "ssl_mode": OneOf("sslMode", tuple(SslMode)),
    "read_only": TrueOrFalse("readOnly"),
    "statement_timeout_ms": Nullable(IntegerRange("statementTimeoutMs", 1, LONGEST_TIMEOUT_MS)),
    "ssh_host": Host("sshTunnel.host"),
    "ssh_port": IntegerRange("sshTunnel.port", 1, 65_535),
    "ssh_username": Exact("sshTunnel.username", max_length=MAX_NAME_LENGTH),
    "ssh_auth_method": OneOf("sshTunnel.authMethod", tuple(SshAuthMethod)),
    "ssh_host_key_fingerprint": Nullable(Fingerprint("sshTunnel.hostKeyFingerprint")),
}
"""Rules by column. Certificates are parsed by `pem`."""

SECRET_RULES: Mapping[str, Any] = {
    "password": Nullable(Exact("password", max_length=MAX_PASSWORD_LENGTH)),
    "ssh_password": Nullable(Exact("sshTunnel.password", max_length=MAX_SSH_SECRET_LENGTH)),
    "ssh_passphrase": Nullable(Exact("sshTunnel.passphrase", max_length=MAX_SSH_SECRET_LENGTH)),
}

TYPED_SECRET_RULES: Mapping[str, Exact] = {
    "password": Exact("password", max_length=MAX_PASSWORD_LENGTH),
    "ssh_password": Exact("sshPassword", max_length=MAX_SSH_SECRET_LENGTH),
}
"""Rules for what `connect` takes, by column."""


def _can_be_sent(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return "%" not in host

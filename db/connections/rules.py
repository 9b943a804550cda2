"""What a saved connection may say. Passwords and names of others are taken exactly as typed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Any

from db.errors import BadInput
from db.kit.text_rules import Required

LONGEST_TIMEOUT_MS = 3_600_000

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
    """A text that another server compares: neither trimmed nor respelt."""

    field: str
    longest: int

    def checked(self, text: str | None) -> str:
        problem = None
        if not text:
            problem = "is empty"
        elif len(text) > self.longest:
            problem = f"is longer than {self.longest} characters"
        elif not _can_be_sent(text):
            problem = "holds a character that cannot be sent"
        if problem or text is None:
            raise BadInput(
                f"`{self.field}` {problem}.",
                hint="Write it as the server knows it; leave it out to keep what is stored.",
                field=self.field,
            )
        return text


@dataclass(frozen=True, slots=True)
class Host:
    """A name or an address; never a path, a list or an option."""

    field: str

    def checked(self, text: str | None) -> str:
        host = (text or "").strip().removeprefix("[").removesuffix("]")
        if len(host) > 253 or not (_HOST.fullmatch(host) or _is_address(host)):
            raise BadInput(
                f"`{self.field}` is not a host.",
                hint="Write a name such as db.example.com, or an address; the port goes in `port`.",
                field=self.field,
            )
        return host


@dataclass(frozen=True, slots=True)
class Between:
    """A number within bounds."""

    field: str
    least: int
    most: int

    def checked(self, number: int | None) -> int:
        if number is None or not self.least <= number <= self.most:
            raise BadInput(
                f"`{self.field}` is not from {self.least} to {self.most}.",
                hint="Choose a number within these bounds.",
                field=self.field,
            )
        return number


@dataclass(frozen=True, slots=True)
class OneOf:
    """A word of a list."""

    field: str
    words: tuple[str, ...]

    def checked(self, word: str | None) -> str:
        if word not in self.words:
            raise BadInput(
                f"`{self.field}` is none of {', '.join(self.words)}.",
                hint="Choose one of them.",
                field=self.field,
            )
        return word


@dataclass(frozen=True, slots=True)
class Maybe:
    """Null, or what the rule says."""

    rule: Any

    def checked(self, value: Any) -> Any:
        return None if value is None else self.rule.checked(value)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Of an SSH host key, as ssh prints it."""

    field: str

    def checked(self, text: str) -> str:
        if not _FINGERPRINT.fullmatch(text.strip()):
            raise BadInput(
                f"`{self.field}` is not the fingerprint of a key.",
                hint="Write it as ssh does: SHA256: and 43 characters. Try to connect to see it.",
                field=self.field,
            )
        return text.strip()


RULES: Mapping[str, Any] = {
    "name": name_rule,
    "host": Host("host"),
    "port": Between("port", 1, 65_535),
    "database": Exact("database", longest=200),
    "username": Exact("username", longest=200),
    "ssl_mode": OneOf("sslMode", tuple(SslMode)),
    "statement_timeout_ms": Maybe(Between("statementTimeoutMs", 1, LONGEST_TIMEOUT_MS)),
    "ssh_host": Host("sshTunnel.host"),
    "ssh_port": Between("sshTunnel.port", 1, 65_535),
    "ssh_username": Exact("sshTunnel.username", longest=200),
    "ssh_auth_method": OneOf("sshTunnel.authMethod", tuple(SshAuthMethod)),
    "ssh_host_key_fingerprint": Maybe(Fingerprint("sshTunnel.hostKeyFingerprint")),
}
"""By column. What is not here is checked elsewhere, or is true or false."""

SECRET_RULES: Mapping[str, Any] = {
    "password": Maybe(Exact("password", longest=10_000)),
    "ssh_password": Maybe(Exact("sshTunnel.password", longest=1_000)),
    "ssh_passphrase": Maybe(Exact("sshTunnel.passphrase", longest=1_000)),
}


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

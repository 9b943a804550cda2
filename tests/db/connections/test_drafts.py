from typing import Any

import pytest

from db.connections import check_connection, parse_draft, with_defaults
from db.connections.rules import SECRET_RULES
from db.errors import BadInput
from tests.db.connections.test_pem import OPENSSH, PASSPHRASE, PKCS8, written

WHOLE = {"name": "Orders", "host": "db.example.com", "database": "orders", "username": "ada"}
TUNNEL = {"host": "bastion.example.com", "username": "ada", "auth_method": "PASSWORD"}


async def test_draft_has_defaults() -> None:
    values = with_defaults((await parse_draft(WHOLE)).values)
    assert (values["port"], values["ssl_mode"], values["read_only"]) == (5432, "PREFER", False)
    assert (values["ssh_host"], values["statement_timeout_ms"]) == (None, None)


@pytest.mark.parametrize("name", WHOLE)
async def test_draft_requires_fields_of_new_connection(name: str) -> None:
    given = {key: value for key, value in WHOLE.items() if key != name}
    with pytest.raises(BadInput) as caught:
        with_defaults((await parse_draft(given)).values)
    assert caught.value.field == name


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": " "}, "name"),
        ({"host": ""}, "host"),
        ({"host": "/var/run/postgresql"}, "host"),
        ({"host": "@abstract"}, "host"),
        ({"host": "a,b"}, "host"),
        ({"host": "a b"}, "host"),
        ({"host": "a' sslmode='disable"}, "host"),
        ({"host": "fe80::1%eth0"}, "host"),
        ({"host": "postgresql://db.example.com"}, "host"),
        ({"host": "-oProxyCommand=x"}, "host"),
        ({"port": 0}, "port"),
        ({"port": 65_536}, "port"),
        ({"port": None}, "port"),
        ({"database": ""}, "database"),
        ({"database": "a\0b"}, "database"),
        ({"username": "x" * 201}, "username"),
        ({"username": "\ud800"}, "username"),
        ({"password": ""}, "password"),
        ({"password": "a\0b"}, "password"),
        ({"ssl_mode": "ALLOW"}, "sslMode"),
        ({"read_only": None}, "readOnly"),
        ({"ssl_root_certificate": "/etc/passwd"}, "sslRootCertificate"),
        ({"statement_timeout_ms": 0}, "statementTimeoutMs"),
        ({"statement_timeout_ms": 3_600_001}, "statementTimeoutMs"),
        ({"ssh_tunnel": {}}, "sshTunnel.host"),
        ({"ssh_tunnel": TUNNEL | {"host": "/x"}}, "sshTunnel.host"),
        ({"ssh_tunnel": TUNNEL | {"auth_method": "NONE"}}, "sshTunnel.authMethod"),
        ({"ssh_tunnel": TUNNEL | {"host_key_fingerprint": "x"}}, "sshTunnel.hostKeyFingerprint"),
        (
            {"ssh_tunnel": TUNNEL | {"auth_method": "PRIVATE_KEY", "private_key": "~/.ssh/id"}},
            "sshTunnel.privateKey",
        ),
    ],
)
async def test_draft_refuses_invalid_fields(given: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput) as caught:
        await parse_draft(given)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("given", "kept"), [("[::1]", "::1"), (" db.example.com ", "db.example.com"), ("a_b", "a_b")]
)
async def test_draft_accepts_host_name_or_address(given: str, kept: str) -> None:
    assert (await parse_draft({"host": given})).values == {"host": kept}


async def test_draft_separates_secrets_verbatim() -> None:
    taken = await parse_draft(
        {"password": " pass word ", "ssh_tunnel": TUNNEL | {"password": "\t"}}
    )
    assert taken.secrets == {
        "password": " pass word ",
        "ssh_password": "\t",
        "ssh_private_key": None,
    }
    assert " pass word " not in taken.values.values()


async def test_draft_replaces_and_removes_tunnel_secrets() -> None:
    sealed = TUNNEL | {"auth_method": "PRIVATE_KEY", "private_key": written(OPENSSH, PASSPHRASE)}
    taken = await parse_draft({"ssh_tunnel": sealed | {"passphrase": PASSPHRASE}})
    assert taken.secrets["ssh_private_key"] == written(PKCS8)
    gone = await parse_draft({"ssh_tunnel": None})
    assert gone.secrets == dict.fromkeys(("ssh_password", "ssh_private_key"))
    assert gone.values["ssh_host"] is None


@pytest.mark.parametrize(
    ("given", "kept", "agent", "field"),
    [
        ({"ssl_mode": "VERIFY_CA"}, set(), True, "sslRootCertificate"),
        ({"ssh_auth_method": "PRIVATE_KEY"}, {"password"}, True, "sshTunnel.privateKey"),
        ({"ssh_auth_method": "AGENT"}, set(), False, "sshTunnel.authMethod"),
        ({"ssh_auth_method": "AGENT"}, set(), True, None),
        ({"ssh_auth_method": "PRIVATE_KEY"}, {"ssh_private_key"}, False, None),
        ({"ssl_mode": "VERIFY_FULL"}, set(), False, None),
        ({"ssl_mode": "VERIFY_CA", "ssl_root_certificate": "x"}, set(), False, None),
    ],
)
def test_draft_checks_fields_that_depend_on_each_other(
    given: dict[str, Any], kept: set[str], *, agent: bool, field: str | None
) -> None:
    values = with_defaults(WHOLE) | given
    if field is None:
        check_connection(values, secrets=kept, agent=agent)
        return
    with pytest.raises(BadInput) as caught:
        check_connection(values, secrets=kept, agent=agent)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("password", "hint"),
    [
        ("", "Pass it as your server knows it"),
        ("x" * 10_001, "Pass at most 10000 characters."),
        ("a\0b", "Remove null characters"),
    ],
)
def test_password_error_says_how_to_correct_it(password: str, hint: str) -> None:
    with pytest.raises(BadInput) as caught:
        SECRET_RULES["password"].checked(password)
    assert caught.value.hint.startswith(hint)

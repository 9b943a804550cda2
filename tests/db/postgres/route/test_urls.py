import ssl
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from asyncpg import connect_utils
from hypothesis import given
from hypothesis import strategies as st

from db.errors import BadInput
from db.postgres.route.urls import parse_url
from tests.fixtures.certificates import self_signed

PASSWORD = "p@ss/w?rd#%:é ü"  # in the URLs below: as providers escape it
ESCAPED = "p%40ss%2Fw%3Frd%23%25%3A%C3%A9%20%C3%BC"


def understood(url: str) -> tuple[list[Any], Any]:
    """The addresses and parameters that asyncpg derives from our arguments."""
    target = parse_url(url)
    nothing = dict.fromkeys(
        (
            *("host", "port", "user", "password", "passfile", "database", "service"),
            *("servicefile", "direct_tls", "server_settings", "target_session_attrs"),
            *("krbsrvname", "gsslib"),
        )
    )
    parse: Any = connect_utils._parse_connect_dsn_and_args  # type: ignore[attr-defined]  # private
    found: tuple[list[Any], Any] = parse(dsn=target.dsn, ssl=target.ssl, **nothing)
    return found


@pytest.fixture(autouse=True)
def nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGSSLMODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("url", "address", "mode", "pooled"),
    [
        # Heroku
        ("postgres://{u}:{p}@ec2-1.compute.amazonaws.com:5432/{d}", None, "prefer", None),
        # Neon, direct and through its pooler
        ("postgresql://{u}:{p}@ep-a-1.eu.aws.neon.tech/{d}?sslmode=require&channel_binding=require",
         ("ep-a-1.eu.aws.neon.tech", 5432), "require", None),
        ("postgresql://{u}:{p}@ep-a-1-pooler.eu.aws.neon.tech/{d}?sslmode=require",
         ("ep-a-1-pooler.eu.aws.neon.tech", 5432), "require", True),
        # Supabase: in transaction mode, in session mode, with Prisma's words
        ("postgres://{u}:{p}@aws-0-eu.pooler.supabase.com:6543/{d}", None, "prefer", True),
        ("postgres://{u}:{p}@aws-0-eu.pooler.supabase.com:5432/{d}", None, "prefer", None),
        ("postgres://{u}:{p}@db.x.supabase.co/{d}?pgbouncer=true&connection_limit=1",
         ("db.x.supabase.co", 5432), "prefer", True),
        # DigitalOcean, Azure, Render, a pooler in session mode
        ("postgresql://{u}:{p}@db-do.ondigitalocean.com:25060/{d}?sslmode=require",
         None, "require", None),
        ("postgresql://{u}:{p}@x.postgres.database.azure.com:5432/{d}?sslmode=require",
         None, "require", None),
        ("postgresql://{u}:{p}@localhost:6432/{d}?pgbouncer=false",
         ("localhost", 6432), "prefer", False),
        # other drivers' forms
        ("postgresql+asyncpg://{u}:{p}@db:5433/{d}?ssl=require", ("db", 5433), "require", None),
        ("postgresql+psycopg2://{u}:{p}@db/{d}?sslmode=disable", ("db", 5432), "disable", None),
        ("postgresql://{u}:{p}@db/{d}?ssl=true&connect_timeout=10", ("db", 5432), "require", None),
        # addresses that are not names
        ("postgresql://{u}:{p}@[2001:db8::1]:5433/{d}", ("2001:db8::1", 5433), "prefer", None),
        ("postgresql://{u}:{p}@[fe80::1%25eth0]/{d}", ("fe80::1%eth0", 5432), "prefer", None),
        ("postgresql://{u}:{p}@/{d}?host=/Run/pg", "/Run/pg/.s.PGSQL.5432", "disable", None),
        ("postgresql:///{d}?host=/var/run&port=5433&user={u}&password={p}",
         "/var/run/.s.PGSQL.5433", "disable", None),
        ("postgresql://{u}:{p}@%2Fvar%2FRun/{d}", "/var/Run/.s.PGSQL.5432", "disable", None),
        ("  postgresql://{u}:{p}@db/{d}\n", ("db", 5432), "prefer", None),
    ],
)  # fmt: skip
def test_url_of_provider_is_passed_to_driver(
    url: str, address: object, mode: str, *, pooled: bool | None
) -> None:
    whole = url.format(u="us%40er", p=ESCAPED, d="da%20ta")
    addresses, parameters = understood(whole)
    target = parse_url(whole)
    assert addresses == [(target.host, target.port) if address is None else address]
    assert (parameters.user, parameters.password) == ("us@er", PASSWORD)
    assert (parameters.database, target.database) == ("da ta", "da ta")
    assert parameters.sslmode.name == mode
    assert not parameters.server_settings
    assert target.pooled is pooled


def test_url_accepts_several_hosts() -> None:
    url = "postgresql://u:p@a,b:7,[::1]:8/d?target_session_attrs=read-write"
    addresses, parameters = understood(url)
    assert addresses == [("a", 5432), ("b", 7), ("::1", 8)]
    assert parameters.target_session_attrs == "read-write"
    assert understood("postgresql:///d?host=a,b&port=1,2&user=u")[0] == [("a", 1), ("b", 2)]
    assert understood("postgresql:///d?host=a,b&port=1&user=u")[0] == [("a", 1), ("b", 1)]


def test_url_has_defaults_of_libpq() -> None:
    assert understood("postgresql://me@db")[1].database == "me"
    assert parse_url("postgresql:///d").host == "localhost"
    assert understood("postgresql://db/d")[1].password is None


def test_url_passes_server_settings() -> None:
    _, parameters = understood("postgresql://u@db/d?search_path=x&options=endpoint%3Dep-1")
    assert parameters.server_settings == {"search_path": "x", "options": "endpoint=ep-1"}


@pytest.mark.parametrize(
    "query", ["sslmode=verify-full", "sslmode=verify-full&sslrootcert=system",
              "sslrootcert=system", "sslmode=verify-ca"],
)  # fmt: skip
def test_url_without_root_certificate_trusts_system_authorities(query: str) -> None:
    target = parse_url(f"postgresql://u:p@db/d?{query}")
    assert target.ssl is not None
    assert target.ssl.verify_mode is ssl.CERT_REQUIRED
    assert target.ssl.check_hostname


def test_url_reads_root_certificate(tmp_path: Path) -> None:
    root = self_signed(tmp_path, "root of all")
    _, parameters = understood(f"postgresql://u:p@db/d?sslmode=verify-full&sslrootcert={root}")
    assert parameters.ssl.check_hostname
    assert len(parameters.ssl.get_ca_certs()) == 1


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "does not start with postgresql://"),
        ("mysql://u:hidden@db/d", "does not start with postgresql://"),
        ("u:hidden@db/d", "does not start with postgresql://"),
        ("postgresql://u:hidden@db:notaport/d", "port"),
        ("postgresql://u:hidden@db:0/d", "port"),
        ("postgresql://u:hidden@db:70000/d", "port"),
        ("postgresql://db:hidden/d", "port"),
        ("postgresql://u:hidden@[::1/d", "not a URL"),
        ("postgresql://u:hidden@a:b:c/d", "port"),
        ("postgresql://u:hid/den@db/d", "special character"),
        ("postgresql://u:hid?den@db/d", "special character"),
        ("postgresql://u@tenant:12?hidden=1@db/d", "special character"),
        ("postgresql://u:hid#den@db/d", "special character"),
        ("postgresql://u:hid%00den@db/d", "NUL"),
        ("postgresql://u:hidden@a..b/d", "host"),
        ("postgresql://u:hidden@" + "a" * 64 + "/d", "host"),
        ("postgresql://:hidden@db", "does not name a database"),
        ("postgresql:///?host=a,b&port=1,2,3&dbname=d", "ports"),
        ("postgresql://u:hidden@db/d?sslmode=on", "sslmode"),
        ("postgresql://u:hidden@db/d?sslmod=require", "sslmod"),
        ("postgresql://u:hidden@db/d?sslmode=require&sslrootcert=/not/there.pem", "sslrootcert"),
        ("postgresql://u:hidden@db/d?sslmode=verify-full&sslcert=/not/there.pem", "sslcert"),
        ("postgresql://u:hidden@db/d?sslmode=prefer&sslrootcert=system", "sslmode=verify-full"),
    ],
)
def test_url_that_is_invalid_is_refused_with_reason(url: str, reason: str) -> None:
    with pytest.raises(BadInput, match=reason) as refused:
        parse_url(url)
    error = refused.value
    assert "postgresql://user:password@host" in error.hint
    for part in ("hidden", "hid", "den"):
        assert part not in f"{error.message}{error.hint}"
    assert error.__cause__ is None or "hid" not in repr(error.__cause__)


def test_url_refuses_invalid_certificate(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    with pytest.raises(BadInput, match="sslcert"):
        parse_url(f"postgresql://u:p@db/d?sslmode=verify-full&sslcert={garbage}&sslkey={garbage}")


def test_url_never_shows_password() -> None:
    target = parse_url("postgresql://u:hidden@[::1]:1/d?sslmode=verify-full")
    assert str(target) == "postgresql://u@[::1]:1/d"
    for shown in (repr(target), str(target), f"{target}", repr([target]), repr({"url": target})):
        assert "hidden" not in shown


@given(user=st.text(min_size=1), password=st.text(min_size=1), database=st.text(min_size=1))
def test_url_unescapes_all_parts(user: str, password: str, database: str) -> None:
    try:
        parts = [quote(part, safe="") for part in (user, password, database)]
    except UnicodeEncodeError:  # half a surrogate pair cannot be written in a URL
        return
    url = "postgresql://{}:{}@db/{}".format(*parts)
    if "\0" in user + password + database:
        with pytest.raises(BadInput):
            parse_url(url)
        return
    _, parameters = understood(url)
    assert (parameters.user, parameters.password, parameters.database) == (user, password, database)


@given(st.text())
def test_url_parser_accepts_or_refuses_any_text(text: str) -> None:
    for url in (text, f"postgresql://{text}"):
        try:
            parse_url(url)
        except BadInput:
            continue

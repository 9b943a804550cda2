"""Parses the database URLs of managed providers into arguments for asyncpg."""

import os
import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from ssl import SSLContext, SSLError, create_default_context
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from db.errors import BadInput

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
DEFAULT_PORT = 5432

# Where a pooler in transaction mode listens: PgBouncer, Odyssey, Supabase, DigitalOcean
_POOLER_PORTS = frozenset({6432, 6543, 25061})
_YES = frozenset({"true", "1", "yes", "on"})

# Parameters that name files. asyncpg reports a missing file like an unreachable database.
_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_ALLOWED = (
    frozenset(_FILES)
    | {"sslmode", "sslnegotiation", "sslpassword"}
    | {"ssl_max_protocol_version", "ssl_min_protocol_version"}
    | {"options", "search_path", "target_session_attrs"}
    | {"passfile", "krbsrvname"}
)
# Parameters for libpq, JDBC, Prisma, Supabase and SQLAlchemy. asyncpg would send them as server
# settings, which the server rejects. Others are errors, so that a misspelt `sslmode` is noticed.
_IGNORED = (
    frozenset({"channel_binding", "client_encoding", "fallback_application_name", "gssencmode"})
    | {"connect_timeout", "hostaddr", "load_balance_hosts", "sslcompression", "sslsni"}
    | {"keepalives", "keepalives_count", "keepalives_idle", "keepalives_interval"}
    | {"tcp_user_timeout", "connection_limit", "pool_timeout", "socket_timeout", "sslaccept"}
    | {"statement_cache_size", "prepared_statement_cache_size", "async_fallback"}
    | {"application_name", "supa", "workaround"}
)
_HOST = re.compile(r"(?:\[(?P<address>[^\]]+)\]|(?P<name>[^:]*))(?::(?P<port>.*))?")


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """Address and connection options of Howdah's own database. `repr` omits the password."""

    dsn: str = field(repr=False)
    hosts: tuple[tuple[str, int], ...]
    """Every host with its port. A path names the folder of a UNIX socket."""
    user: str
    database: str
    ssl: SSLContext | None = field(repr=False)
    pooled: bool | None
    """True behind a pooler in transaction mode, where prepared statements are not usable.

    None if the URL does not say: `pooling.is_pooled` finds out.
    """

    @property
    def host(self) -> str:
        return self.hosts[0][0]

    @property
    def port(self) -> int:
        return self.hosts[0][1]

    @property
    def place(self) -> str:
        return format_address(self.host, self.port, quoted=False)

    def __str__(self) -> str:
        return f"postgresql://{self.user}@{self.place}/{self.database}"


def parse_url(url: str) -> DatabaseUrl:
    """Accepts postgres://, postgresql://, SQLAlchemy's +driver forms and libpq's parameters."""
    netloc, path, query = _split(url.strip())
    parameters = dict(parse_qsl(query, keep_blank_values=True))
    login, _, authority = netloc.rpartition("@")
    user, _, password = (unquote(part) for part in login.partition(":"))
    user = parameters.pop("user", user)
    password = parameters.pop("password", password)
    database = parameters.pop("dbname", unquote(path.removeprefix("/"))) or user
    hosts = _hosts(authority, parameters.pop("host", ""), parameters.pop("port", ""))
    _check_encodable(user, password, database, hosts)
    if not database:
        raise _unusable("it does not name a database")
    places = tuple(hosts) or (("localhost", DEFAULT_PORT),)
    host, port = places[0]
    pooled = _is_pooled(host, port, parameters.pop("pgbouncer", ""))
    context = _tls(parameters)
    return DatabaseUrl(
        dsn=_dsn(user, password, hosts, database, _allowed(parameters)),
        hosts=places,
        user=user,
        database=database,
        ssl=context,
        pooled=pooled,
    )


def _split(url: str) -> tuple[str, str, str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _unusable("it is not a URL") from None
    if parts.scheme.partition("+")[0] not in {"postgres", "postgresql"}:
        raise _unusable("it does not start with postgresql://")
    # After an unescaped / ? or # in a password, the rest would be parsed as host or parameters.
    if parts.fragment or "@" in parts.path or "@" in parts.query:
        raise _unusable("a special character in its user or password is not written as %XX")
    return parts.netloc, parts.path, parts.query


def _hosts(authority: str, host: str, port: str) -> list[tuple[str, int]]:
    """Like libpq: several hosts with commas; parameters override the authority."""
    if not host:
        found = [_host(part) for part in authority.split(",")] if authority else []
    else:
        found = [(name, "") for name in host.split(",")]
    ports = port.split(",") if port else [""]
    if len(ports) == 1:
        ports *= len(found)
    if len(ports) != len(found):
        raise _unusable("the numbers of ports and hosts differ")
    return [
        (name, _port(outer or inner)) for (name, inner), outer in zip(found, ports, strict=True)
    ]


def _host(part: str) -> tuple[str, str]:
    match = _HOST.fullmatch(part)
    if match is None:
        raise _unusable("its host is invalid")
    return unquote(match["address"] or match["name"]) or "localhost", match["port"] or ""


def _port(text: str) -> int:
    if not text:
        return DEFAULT_PORT
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65_536):
        raise _unusable("its port is not a number from 1 to 65535")
    return int(text)


def _check_encodable(user: str, password: str, database: str, hosts: list[tuple[str, int]]) -> None:
    names = [host for host, _ in hosts]
    # A NUL terminates strings in PostgreSQL's protocol: the rest would become another string.
    if any("\0" in part for part in (user, password, database, *names)):
        raise _unusable("it contains a NUL")
    try:
        for name in names:
            name.encode("idna" if not name.startswith("/") else "utf-8")
    except UnicodeError:
        raise _unusable("its host is invalid") from None


def _is_pooled(host: str, port: int, flag: str) -> bool | None:
    if flag:
        return flag.lower() in _YES
    return True if port in _POOLER_PORTS or "-pooler." in host else None


def mark_pooled(url: str) -> str:
    """The URL, saying that it leads through a pooler in transaction mode."""
    return f"{url}{'&' if '?' in url else '?'}pgbouncer=true"


def _tls(parameters: dict[str, str]) -> SSLContext | None:
    """Checks the files. Without a root certificate, the system's authorities are trusted."""
    mode = _ssl_mode(parameters)
    for name in _FILES:
        file = parameters.get(name, "system")
        if file != "system" and not (Path(file).is_file() and os.access(file, os.R_OK)):
            raise _unusable(f"the file of its {name} cannot be read")
    trusts_system = parameters.get("sslrootcert") == "system"
    if trusts_system and mode in {"disable", "allow", "prefer"}:
        raise _unusable("sslrootcert=system needs sslmode=verify-full")
    if not trusts_system and (mode not in SSL_MODES[4:] or "sslrootcert" in parameters):
        return None
    return _system_trust_context(parameters)


def _ssl_mode(parameters: dict[str, str]) -> str:
    """Also accepts `ssl=true`, the form of other drivers than libpq."""
    if "ssl" in parameters:
        flag = parameters.pop("ssl")
        parameters.setdefault("sslmode", "require" if flag.lower() in _YES else flag)
    mode = parameters.get("sslmode", "")
    if mode and mode not in SSL_MODES:
        raise _unusable(f"its sslmode is none of {', '.join(SSL_MODES)}")
    return mode


def _system_trust_context(parameters: dict[str, str]) -> SSLContext:
    """Always verifies the host name, because anyone can get a certificate of a public authority."""
    for name in ("sslmode", "sslrootcert"):
        parameters.pop(name, None)
    context = create_default_context()
    context.set_alpn_protocols(["postgresql"])
    certificate, key, password = (
        parameters.pop(name, None) for name in ("sslcert", "sslkey", "sslpassword")
    )
    if certificate:
        try:
            context.load_cert_chain(certificate, key, password or "")
        except SSLError:
            raise _unusable("its sslcert and sslkey do not open") from None
    return context


def _allowed(parameters: dict[str, str]) -> dict[str, str]:
    unknown = sorted(parameters.keys() - _ALLOWED - _IGNORED)
    if unknown:
        raise _unusable(f"it has an unknown parameter: {unknown[0]}")
    return {name: value for name, value in parameters.items() if name in _ALLOWED}


def _dsn(
    user: str,
    password: str,
    hosts: list[tuple[str, int]],
    database: str,
    parameters: dict[str, str],
) -> str:
    """Omits the colon without a password, so that asyncpg searches for one as libpq does."""
    login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    addresses = ",".join(format_address(host, port, quoted=True) for host, port in hosts)
    query = f"?{urlencode(parameters)}" if parameters else ""
    return (
        f"postgresql://{login}{'@' if login else ''}{addresses}/{quote(database, safe='')}{query}"
    )


def format_address(host: str, port: int, *, quoted: bool) -> str:
    try:
        is_ipv6 = ip_address(host).version == 6
    except ValueError:
        is_ipv6 = False
    name = quote(host, safe=":" if is_ipv6 else "") if quoted else host
    if is_ipv6:
        name = f"[{name}]"
    return f"{name}:{port}"


def _unusable(reason: str) -> BadInput:
    return BadInput(
        f"The database URL cannot be used: {reason}.",
        hint="Use the form postgresql://user:password@host:5432/database?sslmode=require.",
    )

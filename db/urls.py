"""What managed providers hand out as a database URL, made into what asyncpg takes."""

from dataclasses import dataclass, field
from ssl import SSLContext, create_default_context
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from db.errors import BadInput

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

# libpq's words that asyncpg would send on to the server as settings, which refuses them
_LIBPQ_ONLY = frozenset({"channel_binding", "gssencmode", "connect_timeout", "keepalives"})
_POOLER_PORTS = frozenset({6432, 6543})


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """Where our own database is and how to speak to it. Its `repr` holds no password."""

    dsn: str = field(repr=False)
    host: str
    port: int
    user: str
    database: str
    ssl: SSLContext | None = field(repr=False)
    pooled: bool
    """A pooler such as PgBouncer lies between: no statement may outlive its transaction."""

    def __str__(self) -> str:
        return f"postgresql://{self.user}@{self.host}:{self.port}/{self.database}"


def parse_url(url: str) -> DatabaseUrl:
    """Accepts postgres://, postgresql://, SQLAlchemy's +driver forms and libpq's parameters."""
    try:
        parts = urlsplit(url)
        port = parts.port or 5432
    except ValueError:
        raise _unusable("it is not a URL") from None
    if parts.scheme.partition("+")[0] not in {"postgres", "postgresql"}:
        raise _unusable("it does not begin with postgresql://")
    parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
    host = parameters.get("host") or unquote(parts.hostname or "localhost")
    database = unquote(parts.path.lstrip("/")) or unquote(parts.username or "")
    if not database:
        raise _unusable("it names no database")
    pooled = _is_pooled(host, port, parameters.pop("pgbouncer", ""))
    mode = parameters.get("sslmode", "")
    if mode and mode not in SSL_MODES:
        raise _unusable(f"sslmode={mode} is none of {', '.join(SSL_MODES)}")
    context = _trusting_the_system(mode, parameters)
    kept = {name: value for name, value in parameters.items() if name not in _LIBPQ_ONLY}
    return DatabaseUrl(
        dsn=_dsn(parts.netloc, database, kept),
        host=host,
        port=port,
        user=unquote(parts.username or ""),
        database=database,
        ssl=context,
        pooled=pooled,
    )


def _is_pooled(host: str, port: int, flag: str) -> bool:
    if flag:
        return flag.lower() in {"true", "1", "yes"}
    return port in _POOLER_PORTS or "-pooler." in host or host.endswith(".pooler.supabase.com")


def _trusting_the_system(mode: str, parameters: dict[str, str]) -> SSLContext | None:
    """verify-* without a root certificate means the system's authorities, as providers expect."""
    root = parameters.get("sslrootcert", "system")
    if mode not in {"verify-ca", "verify-full"} or root != "system":
        return None
    parameters.pop("sslmode")
    parameters.pop("sslrootcert", None)
    context = create_default_context()
    context.check_hostname = mode == "verify-full"
    return context


def _dsn(netloc: str, database: str, parameters: dict[str, str]) -> str:
    query = f"?{urlencode(parameters)}" if parameters else ""
    return f"postgresql://{netloc}/{quote(database, safe='')}{query}"


def _unusable(reason: str) -> BadInput:
    return BadInput(
        f"The database URL cannot be used: {reason}.",
        hint="Write it as postgresql://user:password@host:5432/database?sslmode=require.",
    )

"""All settings. Only composition roots read them and pass values down."""

import os
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
import platformdirs

from db.errors import BadInput
from db.settings.checks import (
    check_database_urls,
    check_documents,
    check_issuer,
    check_mail,
    check_public_url,
    check_trusted_proxies,
    quoted,
    split_claim,
)
from db.settings.files import SUFFIX, may_be_file, read_setting_files

Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
Amount = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Days = Annotated[int, msgspec.Meta(ge=1, le=36_500)]

PREFIX = "HOWDAH_"
COMMON_DATABASE_URLS = ("DATABASE_URL", "NEON_DATABASE_URL")
SHARED_ALGORITHMS = ("HS256",)
PUBLISHED_ALGORITHMS = ("RS256", "ES256", "EdDSA")
_EXPECTED_OF_TOKENS = ("jwt_issuer", "jwt_audience", "jwt_required_claim")


def default_data_dir() -> Path:
    return Path(platformdirs.user_data_dir("howdah", appauthor=False))


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Each attribute is a variable `HOWDAH_<NAME>`; `.env.example` explains them."""

    database_url: str | None = None
    direct_database_url: str | None = None
    read_database_urls: str | None = None
    database_pool_size: Annotated[int, msgspec.Meta(ge=2, le=1_000)] = 32
    database_wait_ms: Positive = 3_000
    database_connect_ms: Positive = 10_000
    database_lock_ms: Positive = 5_000

    data_dir: Path = msgspec.field(default_factory=default_data_dir)
    host: str = "127.0.0.1"
    port: Port = 8000
    env: Literal["development", "production"] | None = None

    secret_key: str | None = None
    credential_key: str | None = None
    access_token_seconds: Annotated[int, msgspec.Meta(ge=30, le=86_400)] = 900
    refresh_token_days: Days = 30
    session_max_days: Days = 90
    jwks_url: str | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwt_required_claim: str | None = None
    jwt_algorithms: str | None = None
    jwt_secret: str | None = None
    sign_up: Literal["open", "issuer", "closed"] | None = None

    events_url: str | None = None
    objects_url: str | None = None
    objects_redirect: bool = True
    storage_bytes_per_user: Amount | None = None
    storage_files_per_user: Amount | None = None
    buckets_per_user: Amount = 10_000
    tasks_per_user: Amount = 100_000
    upload_seconds: Positive = 21_600
    upload_bytes_per_second: Amount = 1_024

    public_url: str | None = None
    smtp_url: str | None = None
    mail_from: str | None = None
    allowed_origins: str = ""
    trusted_proxies: str = ""
    introspection: bool | None = None
    graphiql: bool | None = None
    documents: Literal["any", "trusted"] = "any"
    documents_path: Path | None = None
    hsts_seconds: Amount = 31_536_000
    allow_root: bool = False
    targets: str | None = None
    target_pool_size: Annotated[int, msgspec.Meta(ge=1, le=100)] = 8
    target_connections: Positive = 200
    target_idle_seconds: Positive = 60
    catalogue_seconds: Amount = 300
    catalogue_bytes: Positive = 128 * 1024 * 1024
    connections_per_user: Amount = 1_000
    cost_per_minute: Annotated[int, msgspec.Meta(ge=1_000, le=10**9)] | None = None
    max_page_size: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1_000
    connections_per_address: Amount | None = None
    anonymous_sockets_per_address: Amount | None = None
    sockets_per_user: Amount | None = None

    runs_at_once: Positive = 8
    runs_waiting: Positive = 100
    run_timeout_ms: Positive = 60_000
    run_max_rows: Positive = 1_000_000
    run_max_bytes: Positive = 256 * 1024 * 1024
    run_max_row_bytes: Annotated[int, msgspec.Meta(ge=1024**2, le=1024**3)] = 32 * 1024 * 1024
    run_max_row_bytes_total: Annotated[int, msgspec.Meta(ge=1024**2, le=2**40)] = 64 * 1024 * 1024
    run_days: Days = 30
    run_bytes_per_user: Positive = 5 * 1024**3
    runs_per_user: Positive = 10_000
    run_text_bytes_per_user: Positive = 1024**3
    run_max_timeout_ms: Positive = 86_400_000
    saved_queries_per_user: Amount = 10_000
    saved_query_bytes_per_user: Amount = 256 * 1024 * 1024

    database_sessions_per_user: Positive = 10
    database_session_idle_seconds: Positive = 1_800
    database_session_max_idle_seconds: Positive = 43_200
    database_session_transaction_seconds: Positive = 900
    database_session_max_transaction_seconds: Positive = 14_400

    audit_days: Days = 90
    audit_log: str | None = None

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] | None = None
    metrics_token: str | None = None
    operation_log: Literal["off", "slow", "all"] = "slow"
    operation_log_every: Positive = 1
    slow_operation_ms: Positive = 1_000
    slow_statement_ms: Amount = 1_000
    slow_statement_plans: bool = False
    drain_seconds: Annotated[int, msgspec.Meta(ge=0, le=3_600)] | None = None
    stop_seconds: Positive = 30

    def __repr__(self) -> str:
        """Omits the values: some are secrets, and a repr ends up in logs."""
        return f"{type(self).__name__}(...)"

    @property
    def embedded(self) -> bool:
        """True if Howdah runs its own PostgreSQL, because no database URL is set."""
        return self.database_url is None

    @property
    def on_loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def development(self) -> bool:
        if self.env is None:
            return self.embedded and self.on_loopback
        return self.env == "development"

    @property
    def allows_sign_in_links(self) -> bool:
        """Whether a link in the terminal signs in the local admin (db.users.sign_in_links)."""
        return self.development and self.on_loopback

    @property
    def single_user(self) -> bool:
        """True on a developer's own machine, whose keychain and SSH agent may then be used."""
        return self.development and self.embedded and self.on_loopback

    @property
    def sign_up_open(self) -> bool:
        return self.development if self.sign_up is None else self.sign_up == "open"

    @property
    def issuer_sign_up_open(self) -> bool:
        """Whether a new user of the external issuer gets an account with the first token."""
        return self.sign_up != "closed"

    @property
    def introspection_allowed(self) -> bool:
        return self.development if self.introspection is None else self.introspection

    @property
    def quota_bytes(self) -> int | None:
        """Limit of the total size of a user's files; None means no limit."""
        return self._limit(self.storage_bytes_per_user, in_production=100 * 1024**3)

    @property
    def quota_files(self) -> int | None:
        """Limit of the number of a user's files; None means no limit."""
        return self._limit(self.storage_files_per_user, in_production=100_000)

    @property
    def trusts_listed_documents_only(self) -> bool:
        return self.documents == "trusted"

    @property
    def serves_graphiql(self) -> bool:
        """By default only where its operations run: none of them is a listed document."""
        if self.graphiql is None:
            return self.development and not self.trusts_listed_documents_only
        return self.graphiql

    @property
    def address_connections(self) -> int | None:
        """Limit of the HTTP connections from one address; None means no limit."""
        return self._limit(self.connections_per_address, in_production=1_000) or None

    @property
    def address_sockets(self) -> int | None:
        """Limit of the WebSockets without a viewer from one address; None means no limit."""
        return self._limit(self.anonymous_sockets_per_address, in_production=256) or None

    @property
    def user_sockets(self) -> int | None:
        """Limit of the WebSockets of one user; None means no limit."""
        return self._limit(self.sockets_per_user, in_production=100) or None

    @property
    def drain_s(self) -> int:
        """Time for which a stopping server accepts connections, so that balancers notice it."""
        return self._limit(self.drain_seconds, in_production=5) or 0

    @property
    def log_dir(self) -> Path:
        return self.data_dir / "logs"

    def _limit(self, limit: int | None, *, in_production: int) -> int | None:
        if limit is None:
            return None if self.development else in_production
        return limit


def load_settings(environ: Mapping[str, str] | None = None, **overrides: object) -> Settings:
    """Reads settings from the environment; `overrides`, from the command line, take precedence."""
    environ = os.environ if environ is None else environ
    values = _from_environment(environ)
    if values.get("env") != "production" and (path := Path(".env")).is_file():
        values = _from_environment(_read_env_file(path)) | values
    values |= {name: value for name, value in overrides.items() if value is not None}
    try:
        settings = msgspec.convert(values, Settings, strict=False, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise _invalid_setting(error, values) from None
    check_issuer(
        jwks_url=settings.jwks_url,
        has_key=bool(settings.jwks_url or settings.jwt_secret),
        expected={name: getattr(settings, name) for name in _EXPECTED_OF_TOKENS},
    )
    external_algorithms(settings)
    check_database_urls(
        settings.database_url, settings.direct_database_url, settings.read_database_urls
    )
    check_trusted_proxies(settings.trusted_proxies)
    check_public_url(settings.public_url)
    check_documents(settings.documents, settings.documents_path)
    check_mail(settings.smtp_url, settings.mail_from, settings.public_url)
    return settings


def required_claim(settings: Settings) -> tuple[str, str] | None:
    """The name of the claim that external tokens must have, and its value."""
    claim = settings.jwt_required_claim
    return None if claim is None else split_claim(claim)


def external_algorithms(settings: Settings) -> tuple[str, ...]:
    """Signature algorithms accepted for tokens of an external issuer. Defaults to all with a key.

    Raises:
        BadInput: a configured algorithm is unsafe, unknown, or has no key.
    """
    possible = (SHARED_ALGORITHMS if settings.jwt_secret else ()) + (
        PUBLISHED_ALGORITHMS if settings.jwks_url else ()
    )
    if settings.jwt_algorithms is None:
        return possible
    configured = tuple(name.strip() for name in settings.jwt_algorithms.split(","))
    accepted = (*SHARED_ALGORITHMS, *PUBLISHED_ALGORITHMS)
    for name in configured:
        if name not in accepted:
            raise BadInput(
                f"HOWDAH_JWT_ALGORITHMS names {quoted(name)}, which is never accepted.",
                hint=f"List one or more of {', '.join(accepted)}, separated by commas.",
            )
        if name not in possible:
            raise BadInput(
                f"HOWDAH_JWT_ALGORITHMS names {name}, for which there is no key.",
                hint="Set HOWDAH_JWT_SECRET for HS256, or HOWDAH_JWKS_URL for RS256, ES256, EdDSA.",
            )
    return configured


def _path(kind: type, value: Any) -> Any:
    """Converts a path, the only type of setting that msgspec does not support."""
    return kind(value).expanduser()


def sources(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The source of each setting that is not a default."""
    environ = os.environ if environ is None else environ
    found = _sources(environ, "environment")
    is_production = environ.get(f"{PREFIX}ENV", "").strip() == "production"
    if not is_production and (path := Path(".env")).is_file():
        found = _sources(_read_env_file(path), ".env") | found
    return found


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """Variables with our prefix that are not settings, probably misspelt."""
    environ = os.environ if environ is None else environ
    names = Settings.__struct_fields__
    known = {PREFIX + name.upper() for name in names}
    known |= {PREFIX + name.upper() + SUFFIX for name in names if may_be_file(name)}
    return sorted(name for name in environ if name.startswith(PREFIX) and name not in known)


def _from_environment(environ: Mapping[str, str]) -> dict[str, object]:
    names = Settings.__struct_fields__
    values: dict[str, object] = {
        name: value for name in names if (value := environ.get(PREFIX + name.upper(), "").strip())
    }
    values |= read_setting_files(environ, names, prefix=PREFIX)
    if "database_url" not in values and (name := _common_variable(environ)) is not None:
        values["database_url"] = environ[name].strip()
    return values


def _common_variable(environ: Mapping[str, str]) -> str | None:
    """The variable of a platform that names our database if HOWDAH_DATABASE_URL does not."""
    return next((name for name in COMMON_DATABASE_URLS if environ.get(name, "").strip()), None)


def _sources(environ: Mapping[str, str], place: str) -> dict[str, str]:
    found = dict.fromkeys(_from_environment(environ), place)
    own = {PREFIX + "DATABASE_URL", PREFIX + "DATABASE_URL" + SUFFIX}
    if "database_url" in found and not any(environ.get(name, "").strip() for name in own):
        found["database_url"] = f"{place}, {_common_variable(environ)}"
    return found


def _read_env_file(path: Path) -> dict[str, str]:
    from dotenv import dotenv_values  # only a checkout in development has this file

    return {name: value for name, value in dotenv_values(path).items() if value is not None}


def _invalid_setting(error: msgspec.ValidationError, values: Mapping[str, object]) -> BadInput:
    """Names the variable, not the attribute: `... - at `$.port`` becomes HOWDAH_PORT.

    The value is included: only numbers, choices and booleans can be invalid, never secrets.
    """
    name = str(error).partition(" - at `$.")[2].rstrip("`")
    variable = PREFIX + name.upper()
    return BadInput(
        f"{variable} is {quoted(str(values[name]))}; it must be {_expected(name)}.",
        hint=f"Correct or unset {variable}; .env.example explains every setting.",
    )


def _expected(name: str) -> str:
    """Describes the values that a setting accepts."""
    from msgspec import inspect  # imported only for an error, because it is slow

    kind = inspect.type_info(get_type_hints(Settings, include_extras=True)[name])
    if isinstance(kind, inspect.UnionType):
        kind = kind.types[0]  # the other is None: not set
    match kind:
        case inspect.IntType(ge=least, le=most):
            return f"a whole number from {least:,} to {most:,}"
        case inspect.LiteralType(values=choices):
            return " or ".join(f"`{choice}`" for choice in choices)
        case _:
            return "`true` or `false`"

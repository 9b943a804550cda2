"""Every setting, frozen, with its meaning. Read by composition roots only, then passed down."""

import os
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import platformdirs

from db.errors import BadInput

Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
Positive = Annotated[int, msgspec.Meta(ge=1)]

PREFIX = "HOWDAH_"


def default_data_dir() -> Path:
    return Path(platformdirs.user_data_dir("howdah", appauthor=False))


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One attribute is one variable `HOWDAH_<NAME>`; `.env.example` explains each."""

    database_url: str | None = None
    direct_database_url: str | None = None
    database_pool_size: Annotated[int, msgspec.Meta(ge=2, le=1_000)] = 32
    database_wait_ms: Positive = 3_000
    database_connect_ms: Positive = 10_000

    data_dir: Path = msgspec.field(default_factory=default_data_dir)
    host: str = "127.0.0.1"
    port: Port = 8000
    env: Literal["development", "production"] | None = None

    secret_key: str | None = None
    credential_key: str | None = None
    access_token_seconds: Annotated[int, msgspec.Meta(ge=30, le=86_400)] = 900
    refresh_token_days: Positive = 30
    jwks_url: str | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwt_algorithms: str | None = None
    jwt_secret: str | None = None
    sign_up: Literal["open", "closed"] | None = None

    events_url: str | None = None
    objects_url: str | None = None
    storage_bytes_per_user: Annotated[int, msgspec.Meta(ge=0)] | None = None
    storage_files_per_user: Annotated[int, msgspec.Meta(ge=0)] | None = None

    allowed_origins: str = ""
    introspection: bool | None = None
    targets: str | None = None
    target_pool_size: Annotated[int, msgspec.Meta(ge=1, le=100)] = 8
    target_connections: Positive = 200
    target_idle_seconds: Positive = 60
    max_page_size: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1_000

    runs_at_once: Positive = 8
    runs_waiting: Positive = 100
    run_timeout_ms: Positive = 60_000
    run_max_rows: Positive = 1_000_000
    run_max_bytes: Positive = 256 * 1024 * 1024
    run_days: Positive = 30

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] | None = None
    metrics_token: str | None = None
    stop_seconds: Positive = 30

    def __repr__(self) -> str:
        """Without the values: some are secrets, and a repr ends up in logs."""
        return f"{type(self).__name__}(...)"

    @property
    def embedded(self) -> bool:
        """Without a database URL Howdah brings its own PostgreSQL."""
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
    def single_user(self) -> bool:
        """On somebody's own machine: its keychain and its SSH agent are theirs."""
        return self.development and self.embedded and self.on_loopback

    @property
    def sign_up_open(self) -> bool:
        return self.development if self.sign_up is None else self.sign_up == "open"

    @property
    def introspection_allowed(self) -> bool:
        return self.development if self.introspection is None else self.introspection

    @property
    def quota_bytes(self) -> int | None:
        """What one user's files may take together; None is no limit."""
        return self._limit(self.storage_bytes_per_user, in_production=100 * 1024**3)

    @property
    def quota_files(self) -> int | None:
        """How many files one user may keep; None is no limit."""
        return self._limit(self.storage_files_per_user, in_production=100_000)

    @property
    def log_dir(self) -> Path:
        return self.data_dir / "logs"

    @property
    def direct_url(self) -> str | None:
        """The road that LISTEN, session locks and migrations need: past any pooler."""
        return self.direct_database_url or self.database_url

    def _limit(self, given: int | None, *, in_production: int) -> int | None:
        if given is None:
            return None if self.development else in_production
        return given


def load_settings(environ: Mapping[str, str] | None = None, **overrides: object) -> Settings:
    """Settings from the environment; `overrides` are the command line's and win."""
    environ = os.environ if environ is None else environ
    values = _from_environment(environ)
    if values.get("env") != "production" and (path := Path(".env")).is_file():
        values = _from_environment(_read_env_file(path)) | values
    values |= {name: value for name, value in overrides.items() if value is not None}
    try:
        settings = msgspec.convert(values, Settings, strict=False, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise _explained(error) from None
    _refuse_half_an_issuer(settings)
    return settings


def _path(kind: type, value: Any) -> Any:
    """The one kind of setting that msgspec does not know."""
    return kind(value).expanduser()


def sources(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Where each setting that is not left to its default comes from."""
    environ = os.environ if environ is None else environ
    values = _from_environment(environ)
    found = dict.fromkeys(values, "environment")
    if values.get("env") != "production" and (path := Path(".env")).is_file():
        found = dict.fromkeys(_from_environment(_read_env_file(path)), ".env") | found
    return found


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """Names of the environment that look like settings and are none: misspelt, most likely."""
    environ = os.environ if environ is None else environ
    known = {PREFIX + name.upper() for name in Settings.__struct_fields__}
    return sorted(name for name in environ if name.startswith(PREFIX) and name not in known)


def _from_environment(environ: Mapping[str, str]) -> dict[str, object]:
    names = Settings.__struct_fields__
    values: dict[str, object] = {
        name: value for name in names if (value := environ.get(PREFIX + name.upper(), "").strip())
    }
    if "database_url" not in values and (url := environ.get("DATABASE_URL", "").strip()):
        values["database_url"] = url
    return values


def _read_env_file(path: Path) -> dict[str, str]:
    from dotenv import dotenv_values  # only a checkout in development has this file

    return {name: value for name, value in dotenv_values(path).items() if value is not None}


def _refuse_half_an_issuer(settings: Settings) -> None:
    if settings.jwks_url and not settings.jwks_url.startswith("https://"):
        raise BadInput(
            "HOWDAH_JWKS_URL is not an https address.",
            hint="Keys fetched in clear text could be anybody's; use the issuer's https URL.",
        )
    if settings.jwks_url and not settings.jwt_issuer:
        raise BadInput(
            "HOWDAH_JWKS_URL is set, but HOWDAH_JWT_ISSUER is not.",
            hint="Set the issuer whose tokens these keys may sign.",
        )


def _explained(error: msgspec.ValidationError) -> BadInput:
    """Names the variable, not the attribute: `... - at `$.port`` becomes HOWDAH_PORT."""
    reason, _, path = str(error).partition(" - at `$.")
    variable = PREFIX + path.rstrip("`").upper()
    return BadInput(
        f"{variable} cannot be used: {reason[0].lower()}{reason[1:]}.",
        hint=f"Correct or unset {variable}; `howdah doctor` lists every setting.",
    )

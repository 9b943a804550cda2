"""Every setting, frozen, with its meaning. Read by composition roots only, then passed down."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import platformdirs

from db.errors import BadInput

Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
Positive = Annotated[int, msgspec.Meta(ge=1)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One attribute is one variable `HOWDAH_<NAME>`; `.env.example` explains each."""

    database_url: str | None = None
    direct_database_url: str | None = None
    database_pool_size: Positive = 32
    database_wait_ms: Positive = 3_000
    database_connect_ms: Positive = 10_000

    data_dir: Path = msgspec.field(default_factory=lambda: default_data_dir())
    host: str = "127.0.0.1"
    port: Port = 8000
    env: Literal["development", "production"] | None = None

    secret_key: str | None = None
    credential_key: str | None = None
    access_token_seconds: Positive = 900
    refresh_token_days: Positive = 30
    jwks_url: str | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwt_algorithms: str | None = None
    jwt_secret: str | None = None
    sign_up: Literal["open", "closed"] | None = None

    events_url: str | None = None
    objects_url: str | None = None

    allowed_origins: str = ""
    introspection: bool | None = None
    targets: str | None = None
    max_page_size: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1_000

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] | None = None
    stop_seconds: Positive = 30

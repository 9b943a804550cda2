"""Settings: environment variables, a `.env` file in development, and files of secrets."""

from db.settings.settings import (
    PREFIX,
    SHARED_ALGORITHMS,
    Settings,
    default_data_dir,
    external_algorithms,
    load_settings,
    required_claim,
    sources,
    unknown_variables,
)

__all__ = [
    "PREFIX",
    "SHARED_ALGORITHMS",
    "Settings",
    "default_data_dir",
    "external_algorithms",
    "load_settings",
    "required_claim",
    "sources",
    "unknown_variables",
]

"""Where a cluster answers, for us and for commands that run beside a server."""

import fcntl
from pathlib import Path
from urllib.parse import quote

import msgspec

from db.postgres.embedded.cluster import NAME
from db.postgres.embedded.folder import unusable
from db.settings import Settings

HOST = "127.0.0.1"
_PORT_LINE = 3  # of postmaster.pid


def url_of(port: int, password: str) -> str:
    """TCP on loopback with SCRAM: a UNIX socket's path may be too long, or unknown to a tool.

    Whoever else listens there learns no password from SCRAM, and can't pretend to be us.
    """
    return f"postgresql://{NAME}:{quote(password, safe='')}@{HOST}:{port}/{NAME}"


def use_running_server(settings: Settings) -> Settings:
    """For a command that may run while a server holds the data folder: its database is used."""
    url = running_url(settings.data_dir / "postgres") if settings.embedded else None
    if url is None:
        return settings
    env = "development" if settings.development else "production"
    return msgspec.structs.replace(settings, database_url=url, env=env)


def running_url(folder: Path) -> str | None:
    """Of the PostgreSQL that another process serves from this folder; None when none does."""
    if not _is_held(folder / "lock"):
        return None
    try:
        password = (folder / "password").read_text().strip()
        port = (folder / "cluster" / "postmaster.pid").read_text().splitlines()[_PORT_LINE]
        return url_of(int(port), password)
    except (FileNotFoundError, LookupError, ValueError):
        return None  # it is starting, or stopping
    except OSError as error:
        raise unusable(folder, error) from error


def _is_held(lock: Path) -> bool:
    try:
        with lock.open() as opened:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    except OSError as error:
        raise unusable(lock.parent, error) from error
    return False

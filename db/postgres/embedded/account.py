"""The account that runs PostgreSQL, which refuses to run as root."""

import contextlib
import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from db.errors import Unavailable


class AccountOptions(TypedDict, total=False):
    """Options of `subprocess` that start a process under another account."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class Account:
    """The account of this process, or an unprivileged one if this process runs as root."""

    uid: int
    gid: int

    @classmethod
    def of_folder(cls, folder: Path) -> "Account":
        """As root: the owner of the folder, else `nobody`. No account is added to the system.

        initdb requires an account with a name, so an unused number does not work.
        """
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid())
        if owner := folder.stat().st_uid:
            with contextlib.suppress(KeyError):
                return cls(owner, pwd.getpwuid(owner).pw_gid)
        try:
            nobody = pwd.getpwnam("nobody")
        except KeyError:
            raise Unavailable(
                "The embedded PostgreSQL cannot run as root, and this system has no user `nobody`.",
                hint="Run Howdah as an ordinary user, or set HOWDAH_DATABASE_URL.",
            ) from None
        return cls(nobody.pw_uid, nobody.pw_gid)

    @property
    def options(self) -> AccountOptions:
        if self.uid == os.geteuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def take_ownership(self, path: Path) -> None:
        """As root, make this account the owner of `path` and everything below it."""
        if os.geteuid() != 0 or path.lstat().st_uid == self.uid:
            return
        for below in (path, *path.rglob("*")):
            os.chown(below, self.uid, self.gid, follow_symlinks=False)

"""Whom PostgreSQL runs as. It refuses to be root, and so do we."""

import contextlib
import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from db.errors import Unavailable


class AccountOptions(TypedDict, total=False):
    """What `subprocess` needs to start a process under another account."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class Account:
    """Ourselves, or somebody unprivileged when we are root."""

    uid: int
    gid: int

    @classmethod
    def for_folder(cls, folder: Path) -> "Account":
        """Under root: the folder's owner, else `nobody`. No account is added to the system.

        initdb insists on a name in the password file, so an unused number would not do.
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
                "The embedded PostgreSQL can't run as root, and this system has no user `nobody`.",
                hint="Run Howdah as an ordinary user, or set HOWDAH_DATABASE_URL.",
            ) from None
        return cls(nobody.pw_uid, nobody.pw_gid)

    @property
    def options(self) -> AccountOptions:
        if self.uid == os.geteuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Root gives `path` and all below it to this account, where it isn't the owner yet."""
        if os.geteuid() != 0 or path.lstat().st_uid == self.uid:
            return
        for below in (path, *path.rglob("*")):
            os.chown(below, self.uid, self.gid, follow_symlinks=False)

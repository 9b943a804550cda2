"""Settings whose value is in a file: `HOWDAH_SECRET_KEY_FILE` for `HOWDAH_SECRET_KEY`.

Orchestrators mount secrets as files; unlike a variable, a file does not appear in the process list,
in crash reports or in child processes.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from db.errors import BadInput

SUFFIX = "_FILE"
MAX_BYTES = 65_536
_SECRET_ENDINGS = ("_key", "_secret", "_token", "_password", "_url", "_urls")
_PUBLIC_URLS = ("public_url", "jwks_url")


def may_be_file(name: str) -> bool:
    """Whether the setting is a secret, or a URL that may contain one."""
    return name.endswith(_SECRET_ENDINGS) and name not in _PUBLIC_URLS


def read_setting_files(
    environ: Mapping[str, str], names: Iterable[str], *, prefix: str
) -> dict[str, str]:
    """The settings that are read from files, by name.

    Raises:
        BadInput: a file cannot be read or is empty, or the setting is also set as a variable.
    """
    found = {}
    for name in filter(may_be_file, names):
        variable = prefix + name.upper()
        path = environ.get(variable + SUFFIX, "").strip()
        if not path:
            continue
        if environ.get(variable, "").strip():
            raise BadInput(
                f"{variable} and {variable}{SUFFIX} are both set.", hint="Unset one of them."
            )
        found[name] = _read(Path(path), variable + SUFFIX)
    return found


def _read(path: Path, variable: str) -> str:
    try:
        with path.expanduser().open("rb") as file:
            value = file.read(MAX_BYTES + 1)
        text = value.decode().strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise BadInput(
            f"The file of {variable} cannot be read: {reason}.",
            hint="Set the path of a file that the user who runs Howdah can read.",
        ) from None
    if not text or len(value) > MAX_BYTES:
        raise BadInput(
            f"The file of {variable} is empty or has more than {MAX_BYTES:,} bytes.",
            hint="Write the value of the setting into it, and nothing else.",
        )
    return text

"""Key material: the signing secret, and the keys that encrypt stored credentials."""

import base64
import binascii
import contextlib
import hmac
import os
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from db.errors import BadInput, Unavailable
from db.objects.folders import flush_to_disk
from db.settings import Settings

SHORTEST = 32
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")
# Common placeholder secrets; they add no strength, alone or as a part.
_WELL_KNOWN = re.compile(
    r"abcdefghijklmnopqrstuvwxyz|qwertyuiop|0?123456789|0?12345678|howdah|changeme|change|secret"
    r"|password|default|example|insecure|django|development|production|please|your|key|test|jwt|me"
)


class SecretKey:
    """Never used directly: a separate key is derived for each purpose."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def derive(self, purpose: str) -> bytes:
        """32 bytes that reveal neither the secret nor the keys for other purposes."""
        return hmac.digest(self._secret, f"howdah {purpose}".encode(), "sha256")


@dataclass(frozen=True, slots=True)
class CredentialKeys:
    """Keys of 32 bytes by ID; the current one seals, any of them opens."""

    current_id: str
    keys: Mapping[str, bytes] = field(repr=False)

    @property
    def current(self) -> bytes:
        return self.keys[self.current_id]

    def derive(self, purpose: str) -> list[bytes]:
        """A key for another purpose from each of these keys, the current one first."""
        older = [key for key_id, key in self.keys.items() if key_id != self.current_id]
        return [SecretKey(key).derive(purpose) for key in (self.current, *older)]


@dataclass(frozen=True, slots=True)
class Keys:
    secret: SecretKey = field(repr=False)
    credentials: CredentialKeys


def load_keys(settings: Settings) -> Keys:
    """Loads keys from the settings; in development from the data folder, created on first use."""
    secret = _configured_or_created(settings, "secret_key", _new_secret)
    credentials = _configured_or_created(settings, "credential_key", _new_credential_key)
    if secret in credentials:
        raise BadInput(
            "HOWDAH_CREDENTIAL_KEY is the same as HOWDAH_SECRET_KEY.",
            hint="Generate another key, so that a leak of one does not expose both.",
        )
    return Keys(
        secret=SecretKey(checked_secret(secret, name="HOWDAH_SECRET_KEY")),
        credentials=parse_credential_keys(credentials),
    )


def load_credential_keys(settings: Settings) -> CredentialKeys:
    """Like `load_keys`, for a command that needs no signing secret."""
    return parse_credential_keys(
        _configured_or_created(settings, "credential_key", _new_credential_key)
    )


def find_credential_keys(settings: Settings) -> CredentialKeys | None:
    """The present keys. Creates none, so that the data folder can still get those of another."""
    created = settings.development and (settings.data_dir / "credential_key").exists()
    return load_credential_keys(settings) if settings.credential_key or created else None


def add_credential_key(settings: Settings) -> bool:
    """Prepends a new key to the file in the data folder; False if the operator sets the keys."""
    if settings.credential_key is not None:
        return False
    existing = _configured_or_created(settings, "credential_key", _new_credential_key)
    path = settings.data_dir / "credential_key"
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    _write_private(draft, f"{_new_credential_key()},{existing}")
    draft.replace(path)
    flush_to_disk(path.parent)
    return True


def checked_secret(secret: str, *, name: str) -> bytes:
    """Validates the strength of a secret; the error does not contain it."""
    if len(secret.encode()) < SHORTEST:
        problem = f"is shorter than {SHORTEST} bytes"
    elif secret in (secret * 2)[1:-1]:
        problem = "repeats a shorter text"
    elif len(set(_WELL_KNOWN.sub("", secret.lower()))) < 10:
        problem = "is well known or easily guessed"
    else:
        return secret.encode()
    raise BadInput(f"{name} {problem}.", hint="Generate one with `openssl rand -base64 48`.")


def parse_credential_keys(text: str) -> CredentialKeys:
    """Parses comma-separated `id:base64`: the current key, then keys that only open older seals."""
    keys: dict[str, bytes] = {}
    for entry in text.split(","):
        key_id, _, encoded = entry.strip().partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            key = b""
        if not _KEY_ID.fullmatch(key_id) or key_id in keys or len(key) != 32 or len(set(key)) < 10:
            raise BadInput(
                "HOWDAH_CREDENTIAL_KEY is not a list of `id:key`, each key 32 random bytes.",
                hint='Generate one with `echo "k1:$(openssl rand -base64 32)"`; IDs are unique.',
            )
        keys[key_id] = key
    return CredentialKeys(next(iter(keys)), MappingProxyType(keys))


def _configured_or_created(settings: Settings, name: str, make: Callable[[], str]) -> str:
    configured: str | None = getattr(settings, name)
    if configured is not None:
        return configured
    if settings.development:
        try:
            return _read_or_create(settings.data_dir / name, make)
        except OSError as error:
            raise Unavailable(
                f"The key file in {settings.data_dir} is not usable: {error.strerror or error}.",
                hint="Make the folder writable for this user, or choose another HOWDAH_DATA_DIR.",
            ) from error
    variable = f"HOWDAH_{name.upper()}"
    raise BadInput(
        f"{variable} is not set, and this is a production server.",
        hint=f"Generate one as in .env.example, and set the same {variable} on every replica.",
    )


def _read_or_create(path: Path, make: Callable[[], str]) -> str:
    """If several processes start concurrently, one creates the file and the others read it."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            _write_private(draft, make())
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)  # atomic, and never replaces an existing file
        finally:
            draft.unlink(missing_ok=True)
        flush_to_disk(path.parent)  # before anything is sealed with the key
    return path.read_text(encoding="ascii").strip()


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        if os.geteuid() == 0:  # the owner of the folder can then start without root
            folder = path.parent.stat()
            os.fchown(descriptor, folder.st_uid, folder.st_gid)
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())


def _new_secret() -> str:
    return secrets.token_urlsafe(48)


def _new_credential_key() -> str:
    return f"{secrets.token_hex(4)}:{base64.b64encode(secrets.token_bytes(32)).decode()}"

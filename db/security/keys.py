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


@dataclass(frozen=True, slots=True)
class Keys:
    secret: SecretKey = field(repr=False)
    credentials: CredentialKeys


def load_keys(settings: Settings) -> Keys:
    """From the settings; in development, from the data folder, where they are made once."""
    secret = _text(settings, "secret_key", _new_secret)
    credentials = _text(settings, "credential_key", _new_credential_key)
    if secret in credentials:
        raise BadInput(
            "HOWDAH_CREDENTIAL_KEY is the same as HOWDAH_SECRET_KEY.",
            hint="Generate another key, so that a leak of one does not expose both.",
        )
    return Keys(
        secret=SecretKey(checked_secret(secret, name="HOWDAH_SECRET_KEY")),
        credentials=parse_credential_keys(credentials),
    )


def add_credential_key(settings: Settings) -> bool:
    """Put a new key before those of the data folder; False where the operator sets them."""
    if settings.credential_key is not None:
        return False
    kept = _text(settings, "credential_key", _new_credential_key)
    path = settings.data_dir / "credential_key"
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    _write_private(draft, f"{_new_credential_key()},{kept}")
    draft.replace(path)
    return True


def checked_secret(secret: str, *, name: str) -> bytes:
    """Validates the strength of a secret; the error does not contain it."""
    if len(secret.encode()) < SHORTEST:
        problem = f"is shorter than {SHORTEST} bytes"
    elif secret in (secret * 2)[1:-1]:
        problem = "is one text repeated"
    elif len(set(_WELL_KNOWN.sub("", secret.lower()))) < 10:
        problem = "is well known or easily guessed"
    else:
        return secret.encode()
    raise BadInput(f"{name} {problem}.", hint="Make one with `openssl rand -base64 48`.")


def parse_credential_keys(text: str) -> CredentialKeys:
    """`id:base64`, the current one first; after commas those that only open what is older."""
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
                hint='Make one with `echo "k1:$(openssl rand -base64 32)"`; ids differ.',
            )
        keys[key_id] = key
    return CredentialKeys(next(iter(keys)), MappingProxyType(keys))


def _text(settings: Settings, name: str, make: Callable[[], str]) -> str:
    given: str | None = getattr(settings, name)
    if given is not None:
        return given
    if settings.development:
        try:
            return _kept(settings.data_dir / name, make)
        except OSError as error:
            raise Unavailable(
                f"No key can be kept in {settings.data_dir}: {error.strerror or error}.",
                hint="Make it a folder that this user may write, or choose another "
                "HOWDAH_DATA_DIR.",
            ) from error
    variable = f"HOWDAH_{name.upper()}"
    raise BadInput(
        f"{variable} is not set, and this is a production server.",
        hint=f"Make one as .env.example says, and give every replica the same {variable}.",
    )


def _kept(path: Path, make: Callable[[], str]) -> str:
    """What the file holds; of several processes that start together one makes it."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            _write_private(draft, make())
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)  # whole or not at all, and never over another's
        finally:
            draft.unlink(missing_ok=True)
    return path.read_text(encoding="ascii").strip()


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        if os.geteuid() == 0:  # what root makes in a user's folder, that user can use without root
            folder = path.parent.stat()
            os.fchown(descriptor, folder.st_uid, folder.st_gid)
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())


def _new_secret() -> str:
    return secrets.token_urlsafe(48)


def _new_credential_key() -> str:
    return f"{secrets.token_hex(4)}:{base64.b64encode(secrets.token_bytes(32)).decode()}"

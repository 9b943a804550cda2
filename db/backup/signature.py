"""The signature of a backup: an HMAC of its manifest, which has a checksum of every member.

The keys are derived from the credential keys: the current one signs, each of them verifies.
"""

import hmac
from pathlib import Path

import msgspec

from db.errors import BadInput
from db.security.keys import CredentialKeys, SecretKey


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    """Fingerprint of the signing key. IDs of keys are no substitute: `k1` is everywhere."""
    hmac_sha256: str


class BackupKeys:
    """Signs with the current key, and verifies with all of them."""

    def __init__(self, credentials: CredentialKeys | None) -> None:
        derived = [] if credentials is None else credentials.derive("backups")
        self._keys = [SecretKey(key) for key in derived]

    def sign(self, manifest: bytes) -> bytes:
        key = self._keys[0]
        signature = Signature(key=_fingerprint(key), hmac_sha256=_mac(key, manifest))
        return msgspec.json.encode(signature)

    def verify(self, manifest: bytes, signature: bytes | None, path: Path) -> None:
        """Check the manifest before any part of it is used.

        Raises:
            UnverifiedBackup: There is no signature, or one of an unknown key.
            BadInput: The signature of a known key does not match.
        """
        if signature is None:
            raise UnverifiedBackup(f"{path} is not signed.", hint=_UNVERIFIED_HINT)
        try:
            given = msgspec.json.decode(signature, type=Signature)
        except msgspec.DecodeError as error:
            raise changed_error(path) from error
        for key in self._keys:
            if hmac.compare_digest(_fingerprint(key).encode(), given.key.encode()):
                if hmac.compare_digest(_mac(key, manifest).encode(), given.hmac_sha256.encode()):
                    return
                raise changed_error(path)
        raise UnverifiedBackup(
            f"{path} was signed by another installation: none of these credential keys matches.",
            hint=_UNVERIFIED_HINT,
        )


class UnverifiedBackup(BadInput):
    """The origin of the backup cannot be verified. `--accept-unverified` permits it."""


_UNVERIFIED_HINT = (
    "Nothing was changed. Restore with the HOWDAH_CREDENTIAL_KEY of the server that wrote it (a "
    "retired key too; in development copy the file credential_key into the data folder). Pass "
    "--accept-unverified only if no other account could write the file: its author chooses the "
    "accounts, passwords and admins of this server."
)


def changed_error(path: Path) -> BadInput:
    return BadInput(
        f"{path} was changed after it was written: its signature does not match.",
        hint="Nothing was changed here. Restore an untouched copy, and find out who changed it.",
    )


def _fingerprint(key: SecretKey) -> str:
    return key.derive("fingerprint").hex()[:32]


def _mac(key: SecretKey, manifest: bytes) -> str:
    return hmac.new(key.derive("manifest"), manifest, "sha256").hexdigest()

"""Certificates and keys as PEM text: always parsed, never used as a file name.

cryptography is imported on first use, because it adds 10 MB to a server.
"""

import base64
import binascii
import re
from typing import Any

from db.errors import BadInput, TooLarge

MAX_CERTIFICATES_LENGTH = 65_536
MAX_KEY_LENGTH = 16_384
MAX_KDF_ROUNDS = 64  # a second of CPU
MAX_RSA_BITS = 8_192  # 3 s of CPU to validate
_CERTIFICATE_FIELD = "sslRootCertificate"
_KEY_FIELD = "sshTunnel.privateKey"
_OPENSSH = "-----BEGIN OPENSSH PRIVATE KEY-----"
_OPENSSH_BLOCK = re.compile(
    rf"{_OPENSSH}\s+([A-Za-z0-9+/=\s]+)-----END OPENSSH PRIVATE KEY-----\n", re.ASCII
)


def root_certificates(text: str) -> str:
    """Returns the certificates in `text`, without anything else, as one PEM text."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    _check_length(text, MAX_CERTIFICATES_LENGTH, _CERTIFICATE_FIELD)
    try:
        certificates = x509.load_pem_x509_certificates(text.encode("ascii"))
    except ValueError:
        raise BadInput(
            f"`{_CERTIFICATE_FIELD}` contains no readable certificate.",
            hint="Pass PEM text, starting with -----BEGIN CERTIFICATE-----, not a file name.",
            field=_CERTIFICATE_FIELD,
        ) from None
    pems = (certificate.public_bytes(Encoding.PEM) for certificate in certificates)
    return b"".join(pems).decode()


def private_key(text: str, passphrase: str | None) -> str:
    """Returns the key as PEM text that needs no passphrase: unchanged if it is not encrypted.

    It is decrypted once, here, and sealed when it is stored. Slow by design if it is encrypted.
    """
    from cryptography.exceptions import UnsupportedAlgorithm

    _check_length(text, MAX_KEY_LENGTH, _KEY_FIELD)
    text = text.strip() + "\n"
    try:
        return _decrypt(text, passphrase.encode() if passphrase else None)
    except (ValueError, TypeError, UnsupportedAlgorithm, IndexError):
        raise BadInput(
            f"`{_KEY_FIELD}` is not a private key that this passphrase opens.",
            hint="Pass the private key as PEM text, and its exact passphrase if it has one.",
            field=_KEY_FIELD,
        ) from None


def _decrypt(text: str, passphrase: bytes | None) -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    encoded = text.encode("ascii")
    # Validation takes seconds for a large RSA key, so its size is checked before.
    key: Any
    if text.startswith(_OPENSSH):
        _check_kdf_rounds(text)
        key = serialization.load_ssh_private_key(
            encoded, passphrase, unsafe_skip_rsa_key_validation=True
        )
    elif "BEGIN ENCRYPTED PRIVATE KEY" in text:
        raise _unsupported_encryption()  # the file alone determines the work factor
    else:
        key = serialization.load_pem_private_key(
            encoded, passphrase, unsafe_skip_rsa_key_validation=True
        )
    plain: bytes = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    if isinstance(key, RSAPrivateKey):
        _check_rsa_bits(key.key_size)
        serialization.load_pem_private_key(plain, None)
    # Of several blocks another parser may take another one.
    has_one_block = text.count("-----BEGIN ") == 1
    return text if passphrase is None and has_one_block else plain.decode()


def _check_length(text: str, largest: int, field: str) -> None:
    if len(text) > largest:
        raise TooLarge(
            f"`{field}` has {len(text)} characters; the maximum is {largest}.",
            hint="Pass only what this connection needs.",
            field=field,
        )


def _check_rsa_bits(bits: int) -> None:
    if bits > MAX_RSA_BITS:
        raise BadInput(
            f"`{_KEY_FIELD}` is an RSA key of {bits} bits; the maximum is {MAX_RSA_BITS}.",
            hint="Use an Ed25519 key, or an RSA key of 4096 bits.",
            field=_KEY_FIELD,
        )


def _check_kdf_rounds(text: str) -> None:
    """Limits the bcrypt rounds, which the file sets itself; ssh-keygen writes 16 or 24.

    The form is strict: lines that the library reads and this check does not would hide rounds.
    """
    match = _OPENSSH_BLOCK.fullmatch(text)
    if match is None:
        raise ValueError("not one block of base64")
    try:
        data = base64.b64decode("".join(match[1].split()), validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None
    rest = data.removeprefix(b"openssh-key-v1\0")
    _cipher, rest = _string(rest)
    kdf, rest = _string(rest)
    options, _ = _string(rest)
    rounds = int.from_bytes(options[-4:], "big")
    if kdf == b"bcrypt" and rounds > MAX_KDF_ROUNDS:
        raise BadInput(
            f"`{_KEY_FIELD}` is encrypted with {rounds} rounds; the maximum is {MAX_KDF_ROUNDS}.",
            hint="Re-encrypt a copy with `ssh-keygen -p -a 24 -f copy`, then pass the copy.",
            field=_KEY_FIELD,
        )


def _string(data: bytes) -> tuple[bytes, bytes]:
    end = 4 + int.from_bytes(data[:4], "big")
    return data[4:end], data[end:]


def _unsupported_encryption() -> BadInput:
    return BadInput(
        f"`{_KEY_FIELD}` is encrypted in an unsupported way.",
        hint="Convert a copy with `ssh-keygen -p -a 24 -f copy`, then pass the copy.",
        field=_KEY_FIELD,
    )

"""Certificates and keys as PEM text: always parsed, never used as a file name.

cryptography is imported on first use, because it adds 10 MB to a server.
"""

import base64
import binascii

from db.errors import BadInput, TooLarge

MAX_CERTIFICATES_LENGTH = 65_536
MAX_KEY_LENGTH = 16_384
MAX_KDF_ROUNDS = 1_024
_OPENSSH = "-----BEGIN OPENSSH PRIVATE KEY-----"


def root_certificates(text: str, *, field: str = "sslRootCertificate") -> str:
    """Returns the certificates in `text`, without anything else, as one PEM text."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    _check_length(text, MAX_CERTIFICATES_LENGTH, field)
    try:
        certificates = x509.load_pem_x509_certificates(text.encode("ascii"))
    except ValueError:
        raise BadInput(
            f"`{field}` contains no readable certificate.",
            hint="Pass PEM text, starting with -----BEGIN CERTIFICATE-----, not a file name.",
            field=field,
        ) from None
    pems = (certificate.public_bytes(Encoding.PEM) for certificate in certificates)
    return b"".join(pems).decode()


def private_key(text: str, passphrase: str | None, *, field: str = "sshTunnel.privateKey") -> str:
    """Returns the key unchanged if it can be opened.

    Slow by design if it has a passphrase, to make guessing expensive.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    _check_length(text, MAX_KEY_LENGTH, field)
    text = text.strip() + "\n"
    secret = passphrase.encode() if passphrase else None
    try:
        encoded = text.encode("ascii")
        if text.startswith(_OPENSSH):
            _check_kdf_rounds(text, field)
            serialization.load_ssh_private_key(encoded, secret)
        elif "BEGIN ENCRYPTED PRIVATE KEY" in text:
            raise _unsupported_encryption(field)  # the file alone determines the work factor
        else:
            serialization.load_pem_private_key(encoded, secret)
    except (ValueError, TypeError, UnsupportedAlgorithm, IndexError):
        raise BadInput(
            f"`{field}` is not a private key that this passphrase opens.",
            hint="Pass the private key as PEM text, and its exact passphrase if it has one.",
            field=field,
        ) from None
    return text


def _check_length(text: str, largest: int, field: str) -> None:
    if len(text) > largest:
        raise TooLarge(
            f"`{field}` has {len(text)} characters; the maximum is {largest}.",
            hint="Pass only what this connection needs.",
            field=field,
        )


def _check_kdf_rounds(text: str, field: str) -> None:
    """Limits the bcrypt rounds, which the file sets itself; ssh-keygen writes 16 or 24."""
    body = "".join(line for line in text.splitlines() if not line.startswith("-----"))
    try:
        data = base64.b64decode(body)
    except binascii.Error:
        raise ValueError("not base64") from None
    rest = data.removeprefix(b"openssh-key-v1\0")
    _cipher, rest = _string(rest)
    kdf, rest = _string(rest)
    options, _ = _string(rest)
    if kdf == b"bcrypt" and int.from_bytes(options[-4:], "big") > MAX_KDF_ROUNDS:
        raise _unsupported_encryption(field)


def _string(data: bytes) -> tuple[bytes, bytes]:
    end = 4 + int.from_bytes(data[:4], "big")
    return data[4:end], data[end:]


def _unsupported_encryption(field: str) -> BadInput:
    return BadInput(
        f"`{field}` is encrypted in an unsupported way.",
        hint="Convert a copy with `ssh-keygen -p -a 24 -f copy`, then pass the copy.",
        field=field,
    )

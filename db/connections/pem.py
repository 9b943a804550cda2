"""Certificates and keys as PEM text: parsed, never taken as the name of a file.

cryptography is loaded when the first of them comes: with it a server starts 10 MB larger.
"""

import base64
import binascii

from db.errors import BadInput, TooLarge

LARGEST_CERTIFICATES = 65_536
LARGEST_KEY = 16_384
MOST_KDF_ROUNDS = 1_024
_OPENSSH = "-----BEGIN OPENSSH PRIVATE KEY-----"


def root_certificates(text: str, *, field: str = "sslRootCertificate") -> str:
    """The certificates in it and nothing else, as one PEM text."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    _bound(text, LARGEST_CERTIFICATES, field)
    try:
        found = x509.load_pem_x509_certificates(text.encode("ascii"))
    except ValueError:
        raise BadInput(
            f"`{field}` holds no certificate that can be read.",
            hint="Paste the PEM text: -----BEGIN CERTIFICATE----- and so on, not a file name.",
            field=field,
        ) from None
    pems = (certificate.public_bytes(Encoding.PEM) for certificate in found)
    return b"".join(pems).decode()


def private_key(text: str, passphrase: str | None, *, field: str = "sshTunnel.privateKey") -> str:
    """The key as it came, if it opens. Slow by design: a passphrase is made hard to guess."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    _bound(text, LARGEST_KEY, field)
    text = text.strip() + "\n"
    secret = passphrase.encode() if passphrase else None
    try:
        encoded = text.encode("ascii")
        if text.startswith(_OPENSSH):
            _bound_effort(text, field)
            serialization.load_ssh_private_key(encoded, secret)
        elif "BEGIN ENCRYPTED PRIVATE KEY" in text:
            raise _convert(field)  # its effort is bounded by nothing but what the file says
        else:
            serialization.load_pem_private_key(encoded, secret)
    except (ValueError, TypeError, UnsupportedAlgorithm, IndexError):
        raise BadInput(
            f"`{field}` does not open.",
            hint="Paste the private key as PEM text, and its passphrase exactly if it has one.",
            field=field,
        ) from None
    return text


def _bound(text: str, largest: int, field: str) -> None:
    if len(text) > largest:
        raise TooLarge(
            f"`{field}` has {len(text)} characters; {largest} is the most.",
            hint="Paste only what this connection needs.",
            field=field,
        )


def _bound_effort(text: str, field: str) -> None:
    """The file says how many rounds of work opening it takes; ssh-keygen writes 16 or 24."""
    body = "".join(line for line in text.splitlines() if not line.startswith("-----"))
    try:
        data = base64.b64decode(body)
    except binascii.Error:
        raise ValueError("no base64") from None
    rest = data.removeprefix(b"openssh-key-v1\0")
    _cipher, rest = _string(rest)
    kdf, rest = _string(rest)
    options, _ = _string(rest)
    if kdf == b"bcrypt" and int.from_bytes(options[-4:], "big") > MOST_KDF_ROUNDS:
        raise _convert(field)


def _string(data: bytes) -> tuple[bytes, bytes]:
    end = 4 + int.from_bytes(data[:4], "big")
    return data[4:end], data[end:]


def _convert(field: str) -> BadInput:
    return BadInput(
        f"`{field}` is sealed in a way that is not opened here.",
        hint="Convert a copy with `ssh-keygen -p -a 24 -f copy` and paste that.",
        field=field,
    )

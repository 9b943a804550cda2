from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from db.connections import pem
from db.errors import BadInput, TooLarge
from tests.fixtures.certificates import self_signed

PASSPHRASE = "open sesame"
ED25519 = ed25519.Ed25519PrivateKey.generate()


def written(
    form: serialization.PrivateFormat, passphrase: str | None = None, key: Any = ED25519
) -> str:
    sealing = (
        serialization.BestAvailableEncryption(passphrase.encode())
        if passphrase
        else serialization.NoEncryption()
    )
    return str(key.private_bytes(serialization.Encoding.PEM, form, sealing), "ascii")


OPENSSH = serialization.PrivateFormat.OpenSSH
PKCS8 = serialization.PrivateFormat.PKCS8
TRADITIONAL = serialization.PrivateFormat.TraditionalOpenSSL
RSA = rsa.generate_private_key(65_537, 2_048)


def test_certificates_are_kept_without_other_content(tmp_path: Path) -> None:
    both = self_signed(tmp_path, "db.example.com").read_text()
    assert "PRIVATE KEY" in both
    kept = pem.root_certificates("some words\n" + both)
    assert kept.startswith("-----BEGIN CERTIFICATE-----")
    assert "PRIVATE KEY" not in kept
    assert "some words" not in kept
    assert pem.root_certificates(kept + kept) == kept + kept


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/etc/ssl/certs/ca-certificates.crt",
        "file:///etc/passwd",
        "system",
        "-----BEGIN CERTIFICATE-----\nnope\n-----END CERTIFICATE-----",
        written(OPENSSH),
        "ü",
    ],
)
def test_certificates_refuse_invalid_pem(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        pem.root_certificates(text)
    assert caught.value.field == "sslRootCertificate"


def test_pem_refuses_too_long_text() -> None:
    with pytest.raises(TooLarge):
        pem.root_certificates("x" * 65_537)
    with pytest.raises(TooLarge):
        pem.private_key("x" * 16_385, None)


@pytest.mark.parametrize("form", [OPENSSH, PKCS8], ids=["openssh", "pkcs8"])
def test_private_key_without_passphrase_is_kept(form: serialization.PrivateFormat) -> None:
    text = written(form)
    assert pem.private_key(f"\n{text}\n", None) == text


@pytest.mark.parametrize(
    ("form", "key"), [(OPENSSH, ED25519), (TRADITIONAL, RSA)], ids=["openssh", "rsa"]
)
def test_private_key_is_decrypted_once(form: serialization.PrivateFormat, key: Any) -> None:
    plain = pem.private_key(written(form, PASSPHRASE, key), PASSPHRASE)
    assert plain == written(PKCS8, key=key)
    assert pem.private_key(plain, None) == plain


def test_private_key_among_other_blocks_is_extracted() -> None:
    parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    key = ec.generate_private_key(ec.SECP256R1())
    assert pem.private_key(parameters + written(TRADITIONAL, key=key), None) == written(
        PKCS8, key=key
    )


@pytest.mark.parametrize(
    ("text", "passphrase"),
    [
        (written(OPENSSH, PASSPHRASE), None),
        (written(OPENSSH, PASSPHRASE), "open barley"),
        (written(serialization.PrivateFormat.PKCS8, PASSPHRASE), PASSPHRASE),
        (written(OPENSSH)[:100], None),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n!!!\n-----END OPENSSH PRIVATE KEY-----", None),
        ("~/.ssh/id_ed25519", None),
        ("", None),
    ],
    ids=["no passphrase", "wrong passphrase", "unbounded", "cut", "no base64", "path", "empty"],
)
def test_private_key_is_refused_if_it_does_not_open(text: str, passphrase: str | None) -> None:
    with pytest.raises(BadInput) as caught:
        pem.private_key(text, passphrase)
    assert caught.value.field == "sshTunnel.privateKey"
    assert PASSPHRASE not in f"{caught.value.message} {caught.value.hint}"

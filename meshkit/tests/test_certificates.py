from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from trustme import CA, KeyType

from made_certificates import Secret, bundle, certificate_pem, leaf, serial_number
from meshkit import certificates
from meshkit.certificates import CertificateError, Files, Identity, PemFile

GARBAGE = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.fixture(scope="module")
def ca() -> CA:
    return CA()


@pytest.fixture
def secret(tmp_path: Path, ca: CA) -> Secret:
    return Secret.of(tmp_path / "tls", leaf(ca), ca)


def files(secret: Secret) -> Files:
    return Files(
        PemFile("THE_CERTIFICATE", secret.certificate),
        PemFile("THE_KEY", secret.key),
        PemFile("THE_CA", secret.ca),
    )


def load(secret: Secret) -> Identity:
    found = files(secret)
    return certificates.check(found, certificates.read(found))


def refusal(secret: Secret) -> str:
    with pytest.raises(CertificateError) as caught:
        load(secret)
    return str(caught.value)


@pytest.mark.parametrize("kind", list(KeyType))
def test_a_certificate_and_its_key_are_taken(tmp_path: Path, kind: KeyType) -> None:
    ca = CA(key_type=kind)
    certificate = ca.issue_cert("localhost", key_type=kind)
    found = load(Secret.of(tmp_path / "tls", certificate, ca, CA()))
    assert found.serial_number == serial_number(certificate)
    assert found.contents.certificate == certificate_pem(certificate)


def test_the_first_end_of_the_chain_counts(tmp_path: Path, ca: CA) -> None:
    middle = ca.create_child_ca()
    certificate = middle.issue_cert("localhost")
    found = load(Secret.of(tmp_path / "tls", certificate, ca))
    chain = x509.load_pem_x509_certificates(certificate_pem(certificate))
    ends = [each.not_valid_after_utc.timestamp() for each in chain]
    assert len(ends) == 2
    assert found.expires_at_s == min(ends)


@pytest.mark.parametrize(
    ("missing", "setting"),
    [("certificate", "THE_CERTIFICATE"), ("key", "THE_KEY"), ("ca", "THE_CA")],
)
def test_a_file_that_is_not_there(secret: Secret, missing: str, setting: str) -> None:
    path: Path = getattr(secret, missing)
    path.unlink()
    said = refusal(secret)
    assert said.startswith(f"{setting}={path}: No such file or directory; mount the secret there")


def test_a_folder_is_no_file(secret: Secret) -> None:
    secret.key.unlink()
    secret.key.mkdir()
    assert refusal(secret).startswith(f"THE_KEY={secret.key}: Is a directory; mount the secret")


@pytest.mark.parametrize("content", [b"", b"none", GARBAGE], ids=["empty", "text", "garbage"])
@pytest.mark.parametrize("file", ["certificate", "ca"])
def test_a_file_without_a_certificate(secret: Secret, file: str, content: bytes) -> None:
    path: Path = getattr(secret, file)
    path.write_bytes(content)
    said = refusal(secret)
    assert said.startswith(f"THE_{file.upper()}={path} holds no certificate (")
    assert said.endswith(
        "give certificates in PEM, as tls.crt and ca.crt of a TLS secret have them"
    )


@pytest.mark.parametrize("content", [b"", b"none", GARBAGE], ids=["empty", "text", "certificate"])
def test_a_file_without_a_key(secret: Secret, content: bytes) -> None:
    secret.key.write_bytes(content)
    said = refusal(secret)
    assert said.startswith(f"THE_KEY={secret.key} holds no private key that can be read (")
    assert said.endswith("give one in PEM without a password, as tls.key of a TLS secret has it")


def test_a_key_with_a_password(secret: Secret) -> None:
    key = load_pem_private_key(secret.key.read_bytes(), None)
    locked = BestAvailableEncryption(b"password")
    form = PrivateFormat.PKCS8
    secret.key.write_bytes(key.private_bytes(Encoding.PEM, form, locked))
    assert "without a password" in refusal(secret)


def test_a_key_of_a_kind_that_grpc_lacks(secret: Secret) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    secret.key.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
    assert refusal(secret) == (
        f"THE_KEY={secret.key} has a key of a kind that gRPC can't use; make an ECDSA (P-256) or "
        "RSA key"
    )


def test_the_key_of_another_certificate(secret: Secret, ca: CA) -> None:
    secret.key.write_bytes(leaf(ca).private_key_pem.bytes())
    assert refusal(secret) == (
        f"THE_KEY={secret.key} is not the key of the certificate "
        f"THE_CERTIFICATE={secret.certificate}; give both from one secret, the certificate itself "
        "first in its file"
    )


def test_the_chain_in_the_wrong_order(tmp_path: Path, ca: CA) -> None:
    secret = Secret.of(tmp_path / "tls", leaf(ca), ca)
    secret.certificate.write_bytes(bundle(ca) + secret.certificate.read_bytes())
    assert "the certificate itself first in its file" in refusal(secret)


def test_a_file_that_is_too_large(secret: Secret) -> None:
    secret.ca.write_bytes(secret.ca.read_bytes() + b"\n" * 1024 * 1024)
    assert refusal(secret) == (f"THE_CA={secret.ca} has over 1048576 bytes; give a file in PEM")

"""What the files of a certificate hold, checked before anybody uses it.

The files are those of a TLS secret on Kubernetes: a certificate with those that it was made with
(`tls.crt`), its key (`tls.key`), and the certificates to trust (`ca.crt`), all in PEM.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from meshkit.errors import StartError

_MOST_BYTES: Final = 1024 * 1024


class CertificateError(StartError):
    """A file can't be used; the message names its setting, the file and the remedy."""


@dataclass(frozen=True, slots=True)
class PemFile:
    """A file, and who names it.

    Attributes:
        setting: the variable, for messages.
        path: where the file is.
    """

    setting: str
    path: Path

    def __str__(self) -> str:
        return f"{self.setting}={self.path}"


@dataclass(frozen=True, slots=True)
class Files:
    """Where a certificate is.

    Attributes:
        certificate: the certificate and those that it was made with.
        key: its private key.
        ca: the certificates to trust; None where nobody is checked.
    """

    certificate: PemFile
    key: PemFile
    ca: PemFile | None = None


@dataclass(frozen=True, slots=True)
class Contents:
    """The bytes of the files, as they were found."""

    certificate: bytes
    key: bytes
    ca: bytes | None


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate that can be used.

    Attributes:
        contents: of its files.
        serial_number: of the certificate itself.
        expires_at_s: when the first of its chain ends, in seconds since 1970.
    """

    contents: Contents
    serial_number: int
    expires_at_s: float


def read(files: Files) -> Contents:
    """The bytes of the files.

    Raises:
        CertificateError: one can't be read, or is too large to hold certificates.
    """
    return Contents(
        certificate=_read(files.certificate),
        key=_read(files.key),
        ca=_read(files.ca) if files.ca else None,
    )


def check(files: Files, contents: Contents) -> Identity:
    """What the bytes of the files are.

    Raises:
        CertificateError: they are no certificate and its key.
    """
    chain = _certificates(files.certificate, contents.certificate)
    if files.ca is not None and contents.ca is not None:
        _certificates(files.ca, contents.ca)
    leaf = chain[0]
    if _public_half(files.certificate, leaf) != _public_half_of_key(files.key, contents.key):
        raise CertificateError(
            f"{files.key} is not the key of the certificate {files.certificate}; give both from "
            "one secret, the certificate itself first in its file"
        )
    return Identity(contents, leaf.serial_number, _first_end_s(files.certificate, chain))


def _read(file: PemFile) -> bytes:
    try:
        with file.path.open("rb") as opened:
            found = opened.read(_MOST_BYTES + 1)
    except OSError as error:
        raise CertificateError(
            f"{file}: {error.strerror}; mount the secret there, readable for this process, or "
            "set another path"
        ) from error
    if len(found) > _MOST_BYTES:
        raise CertificateError(f"{file} has over {_MOST_BYTES} bytes; give a file in PEM")
    return found


def _certificates(file: PemFile, content: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except (ValueError, x509.InvalidVersion) as error:
        raise _no_certificate(file, error) from error


def _no_certificate(file: PemFile, error: Exception) -> CertificateError:
    return CertificateError(
        f"{file} holds no certificate ({error}); give certificates in PEM, as tls.crt and ca.crt "
        "of a TLS secret have them"
    )


def _first_end_s(file: PemFile, chain: Sequence[x509.Certificate]) -> float:
    try:
        return min(each.not_valid_after_utc.timestamp() for each in chain)
    except ValueError as error:
        raise _no_certificate(file, error) from error


def _public_half(file: PemFile, certificate: x509.Certificate) -> bytes:
    try:
        return _encoded(certificate.public_key())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _unusable_key(file) from error


def _public_half_of_key(file: PemFile, content: bytes) -> bytes:
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CertificateError(
            f"{file} holds no private key that can be read ({error}); give one in PEM without a "
            "password, as tls.key of a TLS secret has it"
        ) from error
    if not isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
        raise _unusable_key(file)
    return _encoded(key.public_key())


def _unusable_key(file: PemFile) -> CertificateError:
    return CertificateError(
        f"{file} has a key of a kind that gRPC can't use; make an ECDSA (P-256) or RSA key"
    )


def _encoded(key: CertificatePublicKeyTypes) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.DER, form)

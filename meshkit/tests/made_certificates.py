"""Certificates for tests, in files as Kubernetes mounts a TLS secret."""

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from trustme import CA, LeafCert

NAMES = ("localhost", "127.0.0.1", "::1")
_versions = itertools.count(1)


def leaf(ca: CA, *names: str) -> LeafCert:
    """A certificate for names, by default those of this machine."""
    return ca.issue_cert(*(names or NAMES))


def expired(ca: CA) -> LeafCert:
    """A certificate that ended yesterday."""
    return ca.issue_cert(*NAMES, not_after=datetime.now(UTC) - timedelta(days=1))


def serial_number(certificate: LeafCert) -> int:
    return x509.load_pem_x509_certificate(certificate_pem(certificate)).serial_number


def certificate_pem(certificate: LeafCert) -> bytes:
    return b"".join(each.bytes() for each in certificate.cert_chain_pems)


def bundle(*trusted: CA) -> bytes:
    return b"".join(each.cert_pem.bytes() for each in trusted)


class Secret:
    """A mounted secret: its files are links through one that each change swaps."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.certificate = folder / "tls.crt"
        self.key = folder / "tls.key"
        self.ca = folder / "ca.crt"

    @classmethod
    def of(cls, folder: Path, certificate: LeafCert, *trusted: CA) -> "Secret":
        secret = cls(folder)
        folder.mkdir()
        for name in ("tls.crt", "tls.key", "ca.crt"):
            (folder / name).symlink_to(f"..data/{name}")
        secret.put(certificate, *trusted)
        return secret

    def put(self, certificate: LeafCert, *trusted: CA) -> None:
        """Changes all files in one moment."""
        self.put_files(
            {
                "tls.crt": certificate_pem(certificate),
                "tls.key": certificate.private_key_pem.bytes(),
                "ca.crt": bundle(*trusted),
            }
        )

    def put_files(self, contents: Mapping[str, bytes]) -> None:
        version = self._folder / f"..{next(_versions)}"
        version.mkdir()
        for name, content in contents.items():
            (version / name).write_bytes(content)
        link = self._folder / "..data_tmp"
        link.symlink_to(version.name)
        link.replace(self._folder / "..data")

    def settings(self) -> dict[str, str]:
        """Settings of a service or gateway that use it inside the mesh."""
        return {
            "internal_tls_certificate_path": str(self.certificate),
            "internal_tls_key_path": str(self.key),
            "internal_tls_ca_path": str(self.ca),
        }

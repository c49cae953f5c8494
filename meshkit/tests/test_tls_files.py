"""A certificate whose files change."""

from pathlib import Path

import pytest
from trustme import CA

from made_certificates import Secret, certificate_pem, expired, leaf, serial_number
from meshkit import tls
from test_tls import certificate, warnings_of


@pytest.fixture(scope="module")
def ca() -> CA:
    return CA()


class Counted:
    """Counts what is added to a metric."""

    def __init__(self) -> None:
        self.total = 0

    def add(self, amount: int, attributes: dict[str, str]) -> None:
        assert attributes == {"mesh.tls.role": "internal"}
        self.total += amount


def test_a_pair_that_is_half_written_is_not_used(
    tmp_path: Path,
    ca: CA,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted = Counted()
    monkeypatch.setattr(tls, "_failures", counted)
    old, new = leaf(ca), leaf(ca)
    secret = Secret.of(tmp_path / "mounted", old, ca)
    own = certificate(secret)
    secret.certificate.write_bytes(certificate_pem(new))
    own.look()
    assert own.identity.serial_number == serial_number(old)
    assert (counted.total, warnings_of(caplog, "")) == (0, [])
    secret.key.write_bytes(new.private_key_pem.bytes())
    own.look()
    assert own.identity.serial_number == serial_number(new)
    assert (counted.total, warnings_of(caplog, "")) == (0, [])


def test_a_change_that_stays_unusable_is_said_once(
    tmp_path: Path,
    ca: CA,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted = Counted()
    monkeypatch.setattr(tls, "_failures", counted)
    old, new = leaf(ca), leaf(ca)
    secret = Secret.of(tmp_path / "mounted", old, ca)
    own = certificate(secret)

    def looks() -> tuple[int, int]:
        for _ in range(5):
            own.look()
        return counted.total, len(warnings_of(caplog, "the one before stays"))

    secret.certificate.write_bytes(b"none")
    assert looks() == (1, 1)
    secret.certificate.write_bytes(certificate_pem(new))  # the key is still the old one
    assert looks() == (2, 2)
    secret.key.unlink()
    assert looks() == (3, 3)
    assert own.identity.serial_number == serial_number(old)
    secret.put(new, ca)
    secret.key.symlink_to("..data/tls.key")
    assert looks() == (3, 3)
    secret.certificate.write_bytes(b"none")  # once more what was said before
    assert looks() == (4, 4)


def test_when_it_ends_is_a_metric(tmp_path: Path, ca: CA) -> None:
    own = certificate(Secret.of(tmp_path / "mounted", leaf(ca), ca))
    ends, attributes = own.expiry()
    assert ends == own.identity.expires_at_s
    assert attributes == {"mesh.tls.role": "internal"}


def test_a_certificate_that_has_expired_is_said(
    tmp_path: Path, ca: CA, caplog: pytest.LogCaptureFixture
) -> None:
    secret = Secret.of(tmp_path / "old", expired(ca), ca)
    certificate(secret)
    assert warnings_of(caplog, "has expired") == [
        "the certificate has expired, nobody will trust it: "
        f"MESH_INTERNAL_TLS_CERTIFICATE_PATH={secret.certificate}"
    ]

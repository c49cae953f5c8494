"""TLS at the door: one certificate for callers over HTTP and gRPC, kept current."""

import ssl
from typing import Final

from mesh_gateway.settings import Settings
from meshkit import names
from meshkit.certificates import CertificateError, Files, PemFile
from meshkit.tls import Certificate

# Of TLS 1.2, as RFC 9325 recommends; those of 1.3 are all good. No RSA key under 2048 bits.
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"


class DoorTls:
    """The certificate of the door.

    Attributes:
        certificate: what is shown; its `watch` keeps both doors current.
        context: for the HTTP port.

    Args:
        files: where it is.

    Raises:
        CertificateError: the files can't be used.
    """

    _current: ssl.SSLContext

    def __init__(self, files: Files) -> None:
        self.certificate = Certificate(names.TlsRole.DOOR, files, self._prepare)
        self.context = self._current
        self.context.sni_callback = self._show_current

    def _prepare(self, files: Files) -> None:
        self._current = _context(files)

    def _show_current(
        self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext
    ) -> None:
        """Called by each handshake, be there a name in it or not.

        A certificate loaded into a context that is in use would be there for a moment without its
        key, or for good where the key does not match.
        """
        connection.context = self._current


def door_tls(settings: Settings) -> DoorTls | None:
    """The TLS of the door; None where the settings name no certificate.

    Raises:
        CertificateError: the files can't be used.
    """
    if settings.tls_certificate_path is None or settings.tls_key_path is None:
        return None
    return DoorTls(
        Files(
            PemFile("MESH_GATEWAY_TLS_CERTIFICATE_PATH", settings.tls_certificate_path),
            PemFile("MESH_GATEWAY_TLS_KEY_PATH", settings.tls_key_path),
        )
    )


def _context(files: Files) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        # A password is asked for on the terminal, where there is none to give.
        context.load_cert_chain(files.certificate.path, files.key.path, password=lambda: b"")
    except OSError as error:  # that of TLS, too
        raise CertificateError(
            f"{files.certificate} and {files.key} can't be served ({error}); give a certificate "
            "and its key in PEM, with an ECDSA (P-256) or RSA key of 2048 bits or more"
        ) from error
    return context

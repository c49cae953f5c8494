"""A certificate that is kept current while the process runs, and what gRPC makes of it.

Its files may change at any time, each by itself. What can't be used is not: the one before stays,
and the next look may find the rest of the change.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias, cast
from weakref import WeakSet

import grpc

from meshkit import certificates, names, telemetry
from meshkit.certificates import CertificateError, Contents, Files, Identity, PemFile
from meshkit.settings import Settings

LOOK_EVERY_S: Final = 2.0
"""Seconds between two looks at the files."""
# What a look found and could not use, and why.
_Refused: TypeAlias = tuple[Contents | None, str]
_log = logging.getLogger(__name__)
_known: WeakSet[Certificate] = WeakSet()
_failures = telemetry.counter(
    names.TLS_RELOAD_FAILURES, "{change}", "Changes of a certificate's files that are not used."
)
telemetry.observed(
    names.TLS_EXPIRY,
    "s",
    "When the certificate in use ends, in seconds since 1970.",
    lambda: [each.expiry() for each in tuple(_known)],
)


class Certificate:
    """A certificate, its key, and whom to trust; `watch` keeps them current.

    Args:
        role: what it is for, in logs and metrics.
        files: where it is.
        prepare: called before anything is taken into use; raises `CertificateError` to refuse it.

    Raises:
        CertificateError: the files can't be used.
    """

    def __init__(
        self,
        role: names.TlsRole,
        files: Files,
        prepare: Callable[[Files], None] = lambda _: None,
    ) -> None:
        self._role = role
        self._files = files
        self._prepare = prepare
        self._identity = self._checked(certificates.read(files))
        self._refused: _Refused | None = None
        self._said = False
        self._warn_of_its_end()
        _failures.add(0, {names.TLS_ROLE: role})
        _known.add(self)

    @property
    def identity(self) -> Identity:
        """What is in use; another object after each change."""
        return self._identity

    @property
    def files(self) -> Files:
        """Where it is."""
        return self._files

    def expiry(self) -> tuple[float, Mapping[str, str]]:
        """When it ends, for the metric."""
        return self._identity.expires_at_s, {names.TLS_ROLE: self._role}

    async def watch(self) -> None:
        """Looks for changes of the files, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Takes what the files hold, where it has changed and can be used.

        What can't be used counts only if the next look finds the same: it may be that one file was
        written and another was not yet.
        """
        contents: Contents | None = None
        try:
            contents = certificates.read(self._files)
            if contents != self._identity.contents:
                self._identity = self._checked(contents)
                _log.info("took another certificate", extra=self._extra())
                self._warn_of_its_end()
            self._refused = None
        except CertificateError as error:
            self._refuse((contents, str(error)))

    def _checked(self, contents: Contents) -> Identity:
        identity = certificates.check(self._files, contents)
        self._prepare(self._files)
        return identity

    def _refuse(self, refused: _Refused) -> None:
        if refused != self._refused:
            self._refused, self._said = refused, False
        elif not self._said:
            self._said = True
            _failures.add(1, {names.TLS_ROLE: self._role})
            _log.warning(
                "the change of a certificate is not used, the one before stays: %s",
                refused[1],
                extra=self._extra(),
            )

    def _warn_of_its_end(self) -> None:
        if self._identity.expires_at_s <= time.time():
            _log.warning(
                "the certificate has expired, nobody will trust it: %s",
                self._files.certificate,
                extra=self._extra(),
            )

    def _extra(self) -> Mapping[str, str]:
        ends = datetime.fromtimestamp(self._identity.expires_at_s, UTC)
        return {
            "role": self._role,
            "serial_number": f"{self._identity.serial_number:x}",
            "expires_at": ends.isoformat(),
        }


def internal(settings: Settings) -> Certificate | None:
    """The certificate inside the mesh; None where the settings name none.

    Raises:
        CertificateError: its files can't be used.
    """
    certificate, key, ca = (
        settings.internal_tls_certificate_path,
        settings.internal_tls_key_path,
        settings.internal_tls_ca_path,
    )
    if certificate is None or key is None or ca is None:  # all or none, as the settings check
        return None
    files = Files(
        PemFile("MESH_INTERNAL_TLS_CERTIFICATE_PATH", certificate),
        PemFile("MESH_INTERNAL_TLS_KEY_PATH", key),
        PemFile("MESH_INTERNAL_TLS_CA_PATH", ca),
    )
    return Certificate(names.TlsRole.INTERNAL, files)


def server_credentials(certificate: Certificate) -> grpc.ServerCredentials:
    """A server's credentials, which show the certificate that is in use at each handshake.

    Who connects must have a certificate of its `ca`, where there is one.
    """
    shown = certificate.identity

    def change() -> grpc.ServerCertificateConfiguration | None:
        nonlocal shown
        if certificate.identity is shown:
            return None
        shown = certificate.identity
        return _configuration(shown)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(shown),
        cast(Any, change),  # the stubs lack its None, for no change
        require_client_authentication=certificate.files.ca is not None,
    )


def _configuration(identity: Identity) -> grpc.ServerCertificateConfiguration:
    contents = identity.contents
    return grpc.ssl_server_certificate_configuration(
        [(contents.key, contents.certificate)], contents.ca
    )


def channel_credentials(identity: Identity) -> grpc.ChannelCredentials:
    """A caller's credentials; gRPC can't change those of a channel, so a change needs another."""
    contents = identity.contents
    return grpc.ssl_channel_credentials(contents.ca, contents.key, contents.certificate)

"""The certificate that clients see, read again when its files change: renewals need no restart."""

from __future__ import annotations

from pathlib import Path

import structlog
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from rdsproxy.config import ProxyTLSSettings
from rdsproxy.tls import TLSConfigError, proxy_tls

_log = structlog.get_logger("rdsproxy.tls")


@implementer(IOpenSSLServerConnectionCreator)
class RenewedCertificate:
    """A context factory for clients' TLS. Raises `TLSConfigError` when it is made of files that cannot be used.

    Files that cannot be used later are named in the log, once, and the certificate before stays in use: of two files
    that are replaced one after the other, the first alone does not fit.
    """

    def __init__(self, settings: ProxyTLSSettings) -> None:
        self._settings = settings
        self._files = [settings.certificate, settings.private_key]
        if settings.ssl_ca is not None:
            self._files.append(settings.ssl_ca)
        # Looked at before they are read: what changes in between is read once more.
        self._seen = [_identity(path) for path in self._files]
        self._options = proxy_tls(settings)

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Make the connection object of one handshake."""
        return SSL.Connection(self.getContext(), None)

    def getContext(self) -> SSL.Context:
        """Give the context for one client.

        Looks at the files each time: two system calls, a small part of what a handshake costs.
        """
        seen = [_identity(path) for path in self._files]
        if seen != self._seen:
            self._seen = seen
            try:
                self._options = proxy_tls(self._settings)
            except TLSConfigError as error:
                _log.error("certificate not renewed", reason=str(error))
            else:
                _log.info("certificate renewed", certificate=str(self._settings.certificate))
        return self._options.getContext()


def _identity(path: Path) -> tuple[int, ...]:
    try:
        stat = path.stat()
    except OSError:
        return ()
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns

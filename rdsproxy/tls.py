"""TLS toward clients and toward the database: certificates read, contexts made, peers verified."""

import ipaddress
import weakref
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import Certificate, CertificateOptions, platformTrust, trustRootFromCertificates
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from .config import ProxyTLSSettings, TLSMode
from .errors import StartError

_log = structlog.get_logger("rdsproxy.tls")
_PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey | Ed448PrivateKey
# RFC 5280 path validation, as OpenSSL numbers what can go wrong; the others are said by number.
_CHAIN_ERRORS = {
    9: "it is not valid yet",
    10: "it has expired",
    18: "it is self-signed",
    19: "its chain ends in a certificate that is not trusted",
    20: "its issuer is not trusted",
    21: "its issuer is not trusted",
    26: "it is for another purpose",
}


REFUSED = "the database's certificate is refused: "
"""How ``CertificateRefusedError`` begins; the reason follows."""


class TLSConfigError(StartError):
    """A certificate or key that cannot be used: one line with the key's path, the file and the reason."""


class CertificateRefusedError(Exception):
    """The database's certificate does not prove what ``[target_group.tls]`` asks for.

    The reason of ``connectionLost`` when that ends a TLS handshake. Names no file and holds no secret.
    """


def proxy_tls(settings: ProxyTLSSettings) -> CertificateOptions:
    """Make the context factory for clients' TLS (1.2 and newer). Raises ``TLSConfigError``."""
    certificates = _certificates("proxy.tls.certificate", settings.certificate)
    key = _private_key("proxy.tls.private_key", settings.private_key)
    if key.public_key() != certificates[0].public_key():
        raise TLSConfigError(
            f"proxy.tls.private_key: {settings.private_key}: not the key of the certificate {settings.certificate}"
        )
    first, *chain = (crypto.X509.from_cryptography(certificate) for certificate in certificates)
    authorities = []
    if settings.ssl_ca is not None:
        authorities = list(map(crypto.X509.from_cryptography, _certificates("proxy.tls.ssl_ca", settings.ssl_ca)))
    try:
        options = CertificateOptions(
            privateKey=crypto.PKey.from_cryptography_key(key),
            certificate=first,
            extraCertChain=chain,
            verify=bool(authorities),
            caCerts=authorities or None,
            # Whether one is needed depends on the user, who is not known before there is TLS.
            requireCertificate=False,
        )
        context = options.getContext()
        if authorities:
            # Those that clients have several of choose by these names.
            context.set_client_ca_list([authority.get_subject() for authority in authorities])
            context.set_verify(SSL.VERIFY_PEER, _log_refusal)
    except (SSL.Error, TypeError, ValueError) as error:
        raise TLSConfigError(f"proxy.tls.certificate: {settings.certificate}: {_openssl_reason(error)}") from None
    return options


def subject_of(certificate: crypto.X509 | None) -> str | None:
    """Give the subject of a certificate in the form of RFC 4514; None if there is no certificate."""
    if certificate is None:
        return None
    try:
        return certificate.to_cryptography().subject.rfc4514_string()
    except ValueError:
        # One that OpenSSL takes and this parser does not: it is nobody's.
        return None


def _log_refusal(_: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
    """Say what OpenSSL's own error, which ends the handshake, does not: why, and which certificate of the chain."""
    if not ok:
        reason = _CHAIN_ERRORS.get(error, f"OpenSSL verification error {error}")
        # Whoever made it up may have made it long.
        subject = (subject_of(certificate) or "")[:200]
        _log.warning("client certificate refused", reason=reason, subject=subject)
    return bool(ok)


def handshake_problem(error: BaseException | None) -> str | None:
    """Give in words what has ended a TLS connection, for the log; None if it was not TLS."""
    return f"TLS: {_openssl_reason(error)}" if isinstance(error, SSL.Error) else None


def backend_tls(mode: TLSMode, host: str, ca: Path | None = None) -> IOpenSSLClientConnectionCreator | None:
    """Make what ``startTLS`` toward the database *host* needs, or ``None`` in mode DISABLED.

    *ca* is a PEM file of the authorities to trust; without it those of the system are trusted.

    PREFERRED and REQUIRED verify nothing (as MySQL's own clients do in these modes), VERIFY_CA the chain alone,
    VERIFY_IDENTITY also that the certificate is for *host*. Whether a server without TLS is acceptable is for the
    caller to decide: in mode PREFERRED alone it is. Raises ``TLSConfigError``.
    """
    if mode == "DISABLED":
        return None
    if not mode.startswith("VERIFY_"):
        return _BackendTLS(CertificateOptions(), host, verify=False, identity=None)
    if ca is None:
        trust = platformTrust()
    else:
        authorities = map(crypto.X509.from_cryptography, _certificates("target_group.tls.ca", ca))
        trust = trustRootFromCertificates([Certificate(authority) for authority in authorities])
    identity = _identity(host) if mode == "VERIFY_IDENTITY" else None
    return _BackendTLS(CertificateOptions(trustRoot=trust), host, verify=True, identity=identity)


@implementer(IOpenSSLClientConnectionCreator)
class _BackendTLS:
    """Our own verification, since Twisted's ``optionsForClientTLS`` insists on names that IDNA allows (no ``db_1``),
    and only logs it when a certificate has no names at all.
    """

    def __init__(
        self, options: CertificateOptions, host: str, *, verify: bool, identity: DNS_ID | IPAddress_ID | None
    ) -> None:
        self._options = options
        self._server_name = _server_name(host)
        self._host = host
        self._verify = verify
        self._identity = identity

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Make the connection object of one handshake."""
        connection = self._options.clientConnectionForTLS(tlsProtocol)
        if self._server_name is not None:
            connection.set_tlsext_host_name(self._server_name)
        if self._verify:
            # Weak, as the connection keeps the callback and the protocol keeps the connection.
            protocol = weakref.ref(tlsProtocol)

            def check(_: SSL.Connection, cert: crypto.X509, error: int, depth: int, ok: int) -> bool:
                reason = self._what_is_wrong(cert, error, depth, bool(ok))
                if reason is not None and (handshaking := protocol()) is not None:
                    refusal = CertificateRefusedError(f"{REFUSED}{reason}")
                    handshaking.failVerification(Failure(refusal))
                return reason is None

            connection.set_verify(SSL.VERIFY_PEER, check)
        return connection

    def _what_is_wrong(self, cert: crypto.X509, error: int, depth: int, ok: bool) -> str | None:
        if not ok:
            return _CHAIN_ERRORS.get(error, f"OpenSSL verification error {error}")
        if depth or self._identity is None:
            return None
        try:
            verify_service_identity(extract_patterns(cert), [self._identity], [])
        except VerificationError:
            return f"it is not for {self._host}"
        except CertificateError:
            return "it has no names to compare"
        except Exception:
            # Whatever a hostile certificate makes a parser raise must end in a refusal, not in a traceback.
            return "its names cannot be read"
        return None


def _identity(host: str) -> DNS_ID | IPAddress_ID:
    try:
        return IPAddress_ID(host) if _is_address(host) else DNS_ID(host.removesuffix("."))
    except (ValueError, UnicodeError):
        raise TLSConfigError(f"target_group.targets[0].host: {host!r} cannot be a name in a certificate") from None


def _server_name(host: str) -> bytes | None:
    """The name to send in the ClientHello: never an address (RFC 6066 section 3)."""
    if _is_address(host):
        return None
    try:
        return host.removesuffix(".").encode("idna")
    except UnicodeError:
        return None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _certificates(key: str, path: Path) -> list[x509.Certificate]:
    pem = _read(key, path)
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise TLSConfigError(f"{key}: {path}: not a certificate in PEM form") from None


def _private_key(key: str, path: Path) -> _PrivateKey:
    pem = _read(key, path)
    try:
        loaded = load_pem_private_key(pem, password=None)
    except TypeError:
        raise TLSConfigError(f"{key}: {path}: has a passphrase; it must have none") from None
    except (ValueError, crypto.Error):
        raise TLSConfigError(f"{key}: {path}: not a private key in PEM form") from None
    if not isinstance(loaded, _PrivateKey):
        raise TLSConfigError(f"{key}: {path}: not an RSA, EC or EdDSA key")
    return loaded


def _read(key: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TLSConfigError(f"{key}: {path}: {error.strerror}") from None


def _openssl_reason(error: Exception) -> str:
    if isinstance(error, SSL.Error) and error.args and error.args[0]:
        return str(error.args[0][-1][-1])
    return str(error)

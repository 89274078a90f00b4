"""Whether TLS to a target is offered, trusted, and for the right name."""

from __future__ import annotations

from typing import Final

from cryptography import x509

from rdsproxy.backend.connection import ConnectionLostError, DatabaseConnection
from rdsproxy.config import TargetGroupSettings
from rdsproxy.config.values import is_address
from rdsproxy.doctor.certificate import validity
from rdsproxy.doctor.finding import Finding, Level, fail, ok, warn
from rdsproxy.protocol import capabilities as cap
from rdsproxy.protocol.handshake import Greeting
from rdsproxy.tls import REFUSED

_VERIFY: Final = 'set mode = "VERIFY_IDENTITY" in [target_group.tls], and ca to the file of its authority'
_OFFER: Final = "give the server a certificate (ssl_cert, ssl_key), or set another mode in [target_group.tls]"
_REMEDIES: Final = (
    ("has expired", "renew the server's certificate"),
    ("not valid yet", "set this machine's clock"),
    ("it is not for", "host must be the name or address that its certificate is for; VERIFY_CA does not compare them"),
    ("no names", "give the server a certificate with its name in subjectAltName; VERIFY_CA does not compare names"),
    ("", "set ca in [target_group.tls] to the PEM file of the authority that has signed it (RDS: global-bundle.pem)"),
)


def check_offer(subject: str, settings: TargetGroupSettings, greeting: Greeting, host: str) -> Finding | None:
    """Say whether what the server offers is what the mode asks for; None: a handshake has to show the rest."""
    mode = settings.tls.mode
    offered = bool(greeting.capabilities & cap.CLIENT_SSL)
    if mode == "DISABLED" or (mode == "PREFERRED" and not offered):
        if host == "localhost" or (is_address(host) and host.startswith(("127.", "::1"))):
            return ok(subject, "none, on this machine")
        return warn(subject, "none: whoever is on the way reads and changes all", _VERIFY if offered else _OFFER)
    if not offered:
        return fail(subject, f"the server does not offer it, and the mode is {mode}", _OFFER)
    return None


def check_spoken(subject: str, settings: TargetGroupSettings, connection: DatabaseConnection) -> Finding:
    """Say what a handshake that succeeded has proven."""
    mode = settings.tls.mode
    certificate = connection.transport.getPeerCertificate()
    if certificate is not None:
        read: x509.Certificate = certificate.to_cryptography()
        valid = validity(subject, read.not_valid_before_utc, read.not_valid_after_utc)
        if valid.level is not Level.OK:
            return valid
    if mode == "VERIFY_IDENTITY":
        return ok(subject, "its certificate is trusted and for this name")
    if mode == "VERIFY_CA":
        return ok(subject, "its certificate is trusted; whose it is was not compared, as the mode is VERIFY_CA")
    return warn(subject, f"encrypted, but the server is not verified: the mode is {mode}", _VERIFY)


def check_refused(subject: str, error: BaseException) -> Finding | None:
    """Say why a handshake has failed; None if it was not TLS that failed."""
    text = str(error)
    if not isinstance(error, ConnectionLostError):
        return None
    if REFUSED in text:
        reason = text.partition(REFUSED)[2]
        remedy = next(remedy for part, remedy in _REMEDIES if part in reason)
        return fail(subject, f"its certificate is refused: {reason}", remedy)
    if "SSL" in text or "ssl" in text or "tls" in text:
        return fail(subject, text, "the server must speak TLS 1.2 or newer")
    return None

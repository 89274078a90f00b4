"""Whether the certificate that clients see can be used, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509

from rdsproxy.config import ProxyTLSSettings
from rdsproxy.doctor.finding import Finding, fail, ok, warn
from rdsproxy.doctor.secrets import check_mode_of
from rdsproxy.tls import TLSConfigError, proxy_tls

SOON: Final = timedelta(days=21)
"""Before its end a certificate should have been renewed."""


def check_certificate(settings: ProxyTLSSettings) -> list[Finding]:
    """Read certificate and key as the proxy does."""
    subject = f"certificate {settings.certificate}"
    try:
        proxy_tls(settings)
        chain = x509.load_pem_x509_certificates(settings.certificate.read_bytes())
    except TLSConfigError as error:
        return [fail(subject, str(error), "correct [proxy.tls]: PEM files of a certificate and of its own key")]
    key = check_mode_of(f"private key {settings.private_key}", settings.private_key)
    first = min(chain, key=lambda certificate: certificate.not_valid_after_utc)
    return [validity(subject, first.not_valid_before_utc, first.not_valid_after_utc), *key]


def validity(subject: str, begins: datetime, ends: datetime) -> Finding:
    """Say whether a certificate is valid now, and will be."""
    now = datetime.now(UTC)
    if now < begins:
        return fail(subject, f"it is not valid before {begins:%Y-%m-%d}", "set this machine's clock, or replace it")
    if now > ends:
        return fail(subject, f"it has expired on {ends:%Y-%m-%d}", "renew it")
    if now > ends - SOON:
        return warn(subject, f"it expires on {ends:%Y-%m-%d}", "renew it; the proxy reads it again by itself")
    return ok(subject, f"valid until {ends:%Y-%m-%d}")

"""TLS with real handshakes over loopback: what is accepted, what is refused, and with which words."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import x25519
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import ClientFactory, Factory, Protocol, connectionDone
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.ssl import CertificateOptions
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from rdsproxy.config import ProxyTLSSettings, TLSMode
from rdsproxy.tls import CertificateRefusedError, TLSConfigError, backend_tls, proxy_tls
from tests.issuing import DAY, NOW, PRIVATE, Issued, issue

ROOT = issue("root", authority=True)
INTERMEDIATE = issue("intermediate", ROOT, authority=True)
SERVERS = {
    "self-signed": issue("db", names=[x509.DNSName("db")]),
    "name": issue("x", INTERMEDIATE, names=[x509.DNSName("db.example"), x509.DNSName("db_1")]),
    "address": issue("x", ROOT, names=[x509.IPAddress(ip_address("10.0.0.5")), x509.IPAddress(ip_address("::1"))]),
    "address as name": issue("x", ROOT, names=[x509.DNSName("10.0.0.5")]),
    "no names": issue("db.example", ROOT),
    "expired": issue("x", ROOT, names=[x509.DNSName("db.example")], ends=NOW - DAY),
    "other authority": issue("x", issue("other", authority=True), names=[x509.DNSName("db.example")]),
}


def settings(folder: Path, server: Issued) -> ProxyTLSSettings:
    """Write *server* and the intermediate certificate, as a server's administrator would."""
    certificate, key = folder / "server.pem", folder / "server.key"
    certificate.write_bytes(server.pem + INTERMEDIATE.pem)
    key.write_bytes(server.key.private_bytes(*PRIVATE))
    return ProxyTLSSettings(certificate=certificate, private_key=key)


class Server(Protocol):
    """Answers in capitals."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data.upper())  # type: ignore[union-attr]


class Client(Protocol):
    """Says hello and reports the answer, or the reason for having none."""

    def __init__(self, done: Callable[[bytes | Failure], None]) -> None:
        self.done = done

    def connectionMade(self) -> None:
        self.transport.write(b"hello")  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        self.done(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.done(reason)


def handshake(server: CertificateOptions, client: IOpenSSLClientConnectionCreator) -> bytes | Failure:
    """Connect over loopback and give the server's answer, or why the client lost the connection."""
    reactor = SelectReactor()
    outcome: list[bytes | Failure] = []

    def done(result: bytes | Failure) -> None:
        outcome.append(result)
        if len(outcome) == 1:
            reactor.stop()

    def start() -> None:
        # startTLS would write by the clock of the process's own reactor, which can run only once in a process.
        servers = TLSMemoryBIOFactory(server, False, Factory.forProtocol(Server), clock=reactor)
        clients = TLSMemoryBIOFactory(client, True, ClientFactory.forProtocol(lambda: Client(done)), clock=reactor)
        port = reactor.listenTCP(0, servers, interface="127.0.0.1")
        reactor.connectTCP("127.0.0.1", port.getHost().port, clients)

    reactor.callWhenRunning(start)
    reactor.run(installSignalHandlers=False)
    return outcome[0]


@pytest.mark.parametrize(
    ("mode", "host", "server", "refused"),
    [
        ("PREFERRED", "db", "self-signed", None),
        ("REQUIRED", "db", "self-signed", None),
        ("REQUIRED", "no name!", "expired", None),
        ("VERIFY_CA", "other", "name", None),
        ("VERIFY_CA", "other", "no names", None),
        ("VERIFY_CA", "db", "self-signed", "it is self-signed"),
        ("VERIFY_CA", "db.example", "other authority", "its issuer is not trusted"),
        ("VERIFY_CA", "db.example", "expired", "it has expired"),
        ("VERIFY_IDENTITY", "db.example", "name", None),
        ("VERIFY_IDENTITY", "DB.example.", "name", None),
        ("VERIFY_IDENTITY", "db_1", "name", None),
        ("VERIFY_IDENTITY", "10.0.0.5", "address", None),
        ("VERIFY_IDENTITY", "::1", "address", None),
        ("VERIFY_IDENTITY", "db.example.org", "name", "it is not for db.example.org"),
        ("VERIFY_IDENTITY", "10.0.0.6", "address", "it is not for 10.0.0.6"),
        ("VERIFY_IDENTITY", "10.0.0.5", "address as name", "it has no names to compare"),
        ("VERIFY_IDENTITY", "10.0.0.5", "name", "it is not for 10.0.0.5"),
        ("VERIFY_IDENTITY", "db.example", "no names", "it has no names to compare"),
        ("VERIFY_IDENTITY", "db.example", "other authority", "its issuer is not trusted"),
        ("VERIFY_IDENTITY", "db.example", "expired", "it has expired"),
    ],
)
def test_what_each_mode_accepts(tmp_path: Path, mode: TLSMode, host: str, server: str, refused: str | None) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(issue("unrelated", authority=True).pem + ROOT.pem)
    creator = backend_tls(mode, host, ca if mode.startswith("VERIFY_") else None)
    assert creator is not None
    outcome = handshake(proxy_tls(settings(tmp_path, SERVERS[server])), creator)
    if refused is None:
        assert outcome == b"HELLO"
    else:
        assert isinstance(outcome, Failure)
        assert isinstance(outcome.value, CertificateRefusedError)
        assert str(outcome.value) == f"the database's certificate is refused: {refused}"


def test_without_a_ca_file_the_authorities_of_the_system_are_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = proxy_tls(settings(tmp_path, SERVERS["name"]))
    untrusting = backend_tls("VERIFY_CA", "db.example")
    assert untrusting is not None
    outcome = handshake(server, untrusting)
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.value, CertificateRefusedError)
    system = tmp_path / "system.pem"
    system.write_bytes(ROOT.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(system))
    trusting = backend_tls("VERIFY_CA", "db.example")
    assert trusting is not None
    assert handshake(server, trusting) == b"HELLO"


def test_disabled_is_no_tls() -> None:
    assert backend_tls("DISABLED", "db") is None


@pytest.mark.parametrize(("host", "sent"), [("db.example.", b"db.example"), ("10.0.0.5", None), ("::1", None)])
def test_the_server_learns_the_name_but_never_an_address(tmp_path: Path, host: str, sent: bytes | None) -> None:
    server = proxy_tls(settings(tmp_path, SERVERS["name"]))
    names: list[bytes | None] = []
    server.getContext().set_tlsext_servername_callback(lambda connection: names.append(connection.get_servername()))
    creator = backend_tls("REQUIRED", host)
    assert creator is not None
    assert handshake(server, creator) == b"HELLO"
    assert names == [sent]


def test_clients_must_speak_tls_1_2(tmp_path: Path) -> None:
    context = proxy_tls(settings(tmp_path, SERVERS["name"])).getContext()
    # Bits that are set already stay set, and set_options answers with all of them.
    bits = context.set_options(0)
    for version in (SSL.OP_NO_SSLv3, SSL.OP_NO_TLSv1, SSL.OP_NO_TLSv1_1):
        assert bits & version
    assert not bits & SSL.OP_NO_TLSv1_2


KEY = SERVERS["name"].key.private_bytes(*PRIVATE)


@pytest.mark.parametrize(
    ("certificate", "key", "line"),
    [
        (None, KEY, "proxy.tls.certificate: {folder}/c.pem: No such file or directory"),
        (b"junk", KEY, "proxy.tls.certificate: {folder}/c.pem: not a certificate in PEM form"),
        (KEY, KEY, "proxy.tls.certificate: {folder}/c.pem: not a certificate in PEM form"),
        (SERVERS["name"].pem, None, "proxy.tls.private_key: {folder}/k.pem: No such file or directory"),
        (SERVERS["name"].pem, b"junk", "proxy.tls.private_key: {folder}/k.pem: not a private key in PEM form"),
        (
            SERVERS["name"].pem,
            SERVERS["name"].key.private_bytes(*PRIVATE[:2], serialization.BestAvailableEncryption(b"x")),
            "proxy.tls.private_key: {folder}/k.pem: has a passphrase; it must have none",
        ),
        (
            SERVERS["name"].pem,
            x25519.X25519PrivateKey.generate().private_bytes(*PRIVATE),
            "proxy.tls.private_key: {folder}/k.pem: not an RSA, EC or EdDSA key",
        ),
        (
            SERVERS["address"].pem,
            KEY,
            "proxy.tls.private_key: {folder}/k.pem: not the key of the certificate {folder}/c.pem",
        ),
    ],
)
def test_a_bad_certificate_or_key_is_named(
    tmp_path: Path, certificate: bytes | None, key: bytes | None, line: str
) -> None:
    for name, content in (("c.pem", certificate), ("k.pem", key)):
        if content is not None:
            (tmp_path / name).write_bytes(content)
    with pytest.raises(TLSConfigError) as caught:
        proxy_tls(ProxyTLSSettings(certificate=tmp_path / "c.pem", private_key=tmp_path / "k.pem"))
    assert str(caught.value) == line.format(folder=tmp_path)


def test_a_bad_ca_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(b"junk")
    with pytest.raises(TLSConfigError) as caught:
        backend_tls("VERIFY_CA", "db", tmp_path / "ca.pem")
    assert str(caught.value) == f"target_group.tls.ca: {tmp_path}/ca.pem: not a certificate in PEM form"


def test_a_host_that_no_certificate_can_name_is_refused_at_start() -> None:
    with pytest.raises(TLSConfigError, match=r"target_group.targets\[0\].host: 'no/name' cannot be a name"):
        backend_tls("VERIFY_IDENTITY", "no/name")

"""Clients that show a certificate, and users who need one besides their password."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql
import pytest

from rdsproxy.protocol import capabilities as cap
from rdsproxy.protocol.framing import frame
from rdsproxy.protocol.handshake import ChangeUser
from tests.integration.logins import CAPABILITIES, Login, client_context
from tests.integration.packets import error_code
from tests.integration.proxy import NATIVE, SHA2, Account, Proxy, one, refused, settings_of
from tests.issuing import DAY, NOW, Issued, issue
from tests.servers import Certificates, DatabaseServer

pytestmark = pytest.mark.parametrize("database", ["mariadb"], indirect=True)

SUBJECT = Account("needs_subject", "Certified-1", "MYSQL_CACHING_SHA2_PASSWORD")
ANY = Account("needs_x509", "Certified-2", "MYSQL_NATIVE_PASSWORD")


class CertifyingProxy(Proxy):
    """Beside its other users it has two who need certificates that `authority` has signed."""

    authority = b""

    def _config(self) -> str:
        self.secrets |= {SUBJECT.password, ANY.password}
        self.ca = self._folder / "clients.pem"
        self.ca.write_bytes(self.authority)
        text = super()._config().replace("[proxy.tls]", f'[proxy.tls]\nssl_ca = "{self.ca}"')
        for account, settings in ((SUBJECT, {"require_subject": "CN=orders"}), (ANY, {"require_x509": True})):
            secret = self._folder / f"{account.name}.json"
            secret.write_text(f'{{"username": "{account.name}", "password": "{account.password}"}}')
            plugin = {"client_password_auth_type": account.plugin}
            text += "\n".join(["[[proxy.auth]]", *settings_of({"secret": f"file:{secret}", **plugin, **settings}), ""])
        return text


@dataclass(frozen=True)
class Shown:
    """What a client may show: files with certificate and key."""

    right: Path
    other: Path
    foreign: Path
    expired: Path
    server: Path


AUTHORITY = issue("clients' authority", authority=True)


@pytest.fixture(scope="module")
def certifying(
    server: DatabaseServer, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CertifyingProxy]:
    for account in (SUBJECT, ANY):
        server.create_user(account.name, account.password)
    proxy = CertifyingProxy(server, tmp_path_factory.mktemp("certifying"), tls=certificates)
    proxy.authority = AUTHORITY.pem + certificates.ca.read_bytes()
    with proxy:
        yield proxy


@pytest.fixture(scope="module")
def shown(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    folder = tmp_path_factory.mktemp("shown")

    def write(name: str, issued: Issued) -> Path:
        return issued.write(folder / name)

    server = folder / "server"
    server.write_bytes(certificates.certificate.read_bytes() + certificates.private_key.read_bytes())
    return Shown(
        write("right", issue("orders", AUTHORITY)),
        write("other", issue("reports", AUTHORITY)),
        write("foreign", issue("orders", issue("somebody", authority=True))),
        write("expired", issue("orders", AUTHORITY, ends=NOW - DAY)),
        server,
    )


def context(
    certificates: Certificates | None, shows: Path | None, version: ssl.TLSVersion | None = None
) -> ssl.SSLContext:
    """Give what a client needs that shows this certificate."""
    assert certificates is not None
    made = client_context(certificates)
    if shows is not None:
        made.load_cert_chain(shows)
    if version is not None:
        made.maximum_version = version
    return made


def connect(proxy: Proxy, account: Account, shows: Path | None, version: ssl.TLSVersion | None = None) -> None:
    """Log in and leave."""
    made = context(proxy.tls, shows, version)
    where: dict[str, Any] = {"host": proxy.host, "port": proxy.port, "ssl": made, "read_timeout": 20}
    with pymysql.connect(user=account.name, password=account.password.encode(), **where) as connection:
        assert one(connection, "SELECT 1") == 1


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS)
def test_who_is_let_in(certifying: CertifyingProxy, shown: Shown, version: ssl.TLSVersion) -> None:
    """By a certificate of the right authority, and where it says so for the right subject."""
    for shows in (None, shown.right, shown.other):
        connect(certifying, NATIVE, shows, version)
        connect(certifying, SHA2, shows, version)
    connect(certifying, SUBJECT, shown.right, version)
    connect(certifying, ANY, shown.right, version)
    connect(certifying, ANY, shown.other, version)
    for account, shows, reason in (
        (SUBJECT, None, "no client certificate"),
        (SUBJECT, shown.other, "the client's certificate is for 'CN=reports'"),
        (ANY, None, "no client certificate"),
    ):
        since = len(certifying.log)
        with refused(1045, f"Access denied for user '{account.name}'@'127.0.0.1' (using password: YES)"):
            connect(certifying, account, shows, version)
        line = certifying.wait_for_log(lambda line: line["event"] == "login failed", after=since)
        assert line["reason"] == reason
    with refused(1045):
        connect(certifying, Account(SUBJECT.name, "wrong", SUBJECT.plugin), shown.right, version)
    for account in (SUBJECT, ANY):
        with refused(1045):
            certifying.connect(account)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("foreign", "its issuer is not trusted"),
        ("expired", "it has expired"),
        ("server", "it is for another purpose"),
    ],
)
def test_certificates_that_do_not_verify(
    certifying: CertifyingProxy, shown: Shown, name: str, reason: str, version: ssl.TLSVersion
) -> None:
    """They end the connection in TLS, whoever the user: with an alert that says why, and a line in the log."""
    made = context(certifying.tls, getattr(shown, name), version)

    def log_in(login: Login, account: Account) -> None:
        # With TLS 1.3 the client is through before its certificate has been looked at.
        login.socket.sendall(login.ssl_request())
        login.socket = made.wrap_socket(login.socket, server_hostname="127.0.0.1")
        login.respond(account.name, b"")

    for account in (SUBJECT, NATIVE):
        since = len(certifying.log)
        with (
            Login(certifying.host, certifying.port) as login,
            pytest.raises(ssl.SSLError, match=r"alert (unknown ca|certificate expired|unsupported certificate)"),
        ):
            log_in(login, account)
        line = certifying.wait_for_log(lambda line: line["event"] == "client certificate refused", after=since)
        assert line["reason"] == reason
        line = certifying.wait_for_log(lambda line: line["event"] == "login failed", after=since)
        assert (line["reason"], line["peer"]) == ("TLS: certificate verify failed", "127.0.0.1")


@pytest.mark.parametrize("account", [SUBJECT, ANY], ids=["sha2", "native"])
def test_without_the_certificate_nothing_tells_if_the_password_is_right(
    certifying: CertifyingProxy, shown: Shown, account: Account
) -> None:
    """The right password meets the same packets as a wrong one."""
    plugin = "caching_sha2_password" if account is SUBJECT else "mysql_native_password"

    def seen(password: str | None) -> list[tuple[int, bytes]]:
        with Login(certifying.host, certifying.port) as login:
            assert certifying.tls is not None
            login.start_tls(certifying.tls)

            answer = login.respond(account.name, login.scramble(plugin, password or "x"), plugin)
            if answer[:1] == b"\xfe":
                login.nonce = answer[-21:-1]
                login.socket.sendall(frame(login.scramble(login.greeting.auth_plugin, password or "x"), login.sequence))
                answer = login.receive()
            if answer == b"\x01\x04":
                login.full(password or "x", encrypted=False)
            assert error_code(login.seen[-1][1]) == 1045
            return [packet for packet in login.seen if packet[1][:1] != b"\xfe"]

    assert seen(account.password) == seen(None)


@pytest.mark.parametrize(("name", "let_in"), [("right", True), ("other", False), (None, False)])
def test_changing_the_user(certifying: CertifyingProxy, shown: Shown, name: str | None, let_in: bool) -> None:
    """COM_CHANGE_USER is judged by the certificate of the connection."""
    with Login(certifying.host, certifying.port) as login:
        login.socket.sendall(login.ssl_request())
        login.sequence += 1
        shows = None if name is None else getattr(shown, name)
        login.socket = context(certifying.tls, shows).wrap_socket(login.socket, server_hostname="127.0.0.1")
        login.capabilities |= cap.CLIENT_SSL
        assert login.respond(SHA2.name, login.scramble("caching_sha2_password", SHA2.password))[:2] == b"\x01\x03"
        assert login.receive()[:1] == b"\0"
        change = ChangeUser(SUBJECT.name.encode(), b"", b"app", 45, "caching_sha2_password")
        answer = login.command(change.build(CAPABILITIES))
        login.switch(answer, "caching_sha2_password")
        login.send(login.scramble("caching_sha2_password", SUBJECT.password))
        answer = login.receive()
        if let_in:
            assert answer == b"\x01\x03"
            assert login.receive()[:1] == b"\0"
        else:
            assert answer == b"\x01\x04"
            assert error_code(login.full(SUBJECT.password, encrypted=False)) == 1873


def test_another_authority(server: DatabaseServer, certificates: Certificates, folder: Path, shown: Shown) -> None:
    """The file is read again when it changes: whom the old one has signed does not come in any more."""
    proxy = CertifyingProxy(server, folder, tls=certificates)
    proxy.authority = AUTHORITY.pem
    with proxy:
        connect(proxy, SUBJECT, shown.right)
        new = issue("new", authority=True)
        (folder / "part").write_bytes(new.pem)
        (folder / "part").rename(proxy.ca)
        with pytest.raises(pymysql.OperationalError):
            connect(proxy, SUBJECT, shown.right)
        connect(proxy, SUBJECT, issue("orders", new).write(folder / "renewed"))


def test_behind_a_balancer(server: DatabaseServer, certificates: Certificates, folder: Path, shown: Shown) -> None:
    """The certificate is the client's, which speaks TLS with the proxy, through the balancer."""
    endpoint = {"listen": ["haproxy:tcp:0:interface=127.0.0.1"], "allow_cidrs": ["127.0.0.1/32"]}
    proxy = CertifyingProxy(server, folder, tls=certificates, endpoint=endpoint)
    proxy.authority = AUTHORITY.pem
    with proxy:
        for shows, first in ((shown.right, b"\x01\x03"), (shown.other, b"\x01\x04"), (None, b"\x01\x04")):
            with Login(proxy.host, proxy.port) as login:
                login.socket.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.8 40000 3306\r\n" + login.ssl_request())
                login.sequence += 1
                login.socket = context(certificates, shows).wrap_socket(login.socket, server_hostname="127.0.0.1")
                login.capabilities |= cap.CLIENT_SSL
                assert login.respond(SUBJECT.name, login.scramble("caching_sha2_password", SUBJECT.password)) == first
        assert {line["peer"] for line in proxy.log if line["event"] == "login failed"} <= {"192.0.2.7"}

"""Who connects too often is turned away before anything is done for them, and nobody else is."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path

import pytest

from rdsproxy.protocol.framing import frame
from rdsproxy.protocol.handshake import SSLRequest
from tests.integration.logins import CAPABILITIES
from tests.integration.packets import TIMEOUT
from tests.integration.proxy import Proxy, one, refused
from tests.servers import Certificates, DatabaseServer

pytestmark = pytest.mark.parametrize("database", ["mariadb"], indirect=True)

LIMIT = 3
SETTINGS = {"max_connection_rate": LIMIT}
TEXT = b"Connections rate limit exceeded (3)"


def answer(proxy: Proxy, source: str, *sent: bytes) -> bytes:
    """Connect from an address of this machine, send, and give all that comes until the proxy closes."""
    with socket.create_connection((proxy.host, proxy.port), TIMEOUT, source_address=(source, 0)) as client:
        file = client.makefile("rb")
        if sent:
            file.peek()  # the greeting: before it nobody may speak
        for data in sent:
            client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return file.read()


def test_by_address(server: DatabaseServer, folder: Path) -> None:
    """Logged in or not, right password or wrong; other addresses and Unix sockets come in, those who are in stay."""
    with tempfile.TemporaryDirectory() as short:
        listen = [f"tcp:0:interface={Proxy.host}", f"unix:{short}/socket"]
        admin = {"listen": "tcp:0:interface=127.0.0.1"}
        with Proxy(server, folder, proxy=SETTINGS, endpoint={"listen": listen}, admin=admin) as proxy:
            with proxy.connect() as first, refused(1045):
                proxy.connect(password=b"wrong")
            assert answer(proxy, "127.0.0.1")[4:5] == b"\x0a"
            for _ in range(2):
                # No greeting, and so no SQL state.
                assert answer(proxy, "127.0.0.1") == frame(b"\xff\x10\x04" + TEXT, 0)
                with refused(1040, TEXT.decode()):
                    proxy.connect()
            with proxy.connect(bind_address="127.0.0.2") as elsewhere:
                assert one(elsewhere, "SELECT 1") == 1
            for _ in range(LIMIT + 1):
                with proxy.connect(unix_socket=f"{short}/socket") as local:
                    assert one(local, "SELECT 1") == 1
            assert proxy.metrics()["rdsproxy_client_connections_rate_limited_total"] == 4
            # A flood must not be one of lines too.
            assert [line["peer"] for line in proxy.log if line.get("reason") == "max_connection_rate"] == ["127.0.0.1"]
            with proxy.connect(bind_address="127.0.0.2") as elsewhere:
                assert one(elsewhere, "SELECT 1") == 1
            del first


def version_1(number: int) -> bytes:
    """Say which client of 192.0.2.0/24 it is."""
    return f"PROXY TCP4 192.0.2.{number} 192.0.2.8 40000 3306\r\n".encode()


def version_2(number: int) -> bytes:
    """Say so in the binary form."""
    return b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([192, 0, 2, number, 192, 0, 2, 8, 0x9C, 0x40, 0x0C, 0xEA])


def test_behind_a_balancer(server: DatabaseServer, certificates: Certificates, folder: Path) -> None:
    """It is the client's own address that counts; the balancer's does not. It is told before TLS begins."""
    request = frame(SSLRequest(CAPABILITIES, 1 << 24, 45).build(), 1)
    endpoint = {"listen": ["haproxy:tcp:0:interface=127.0.0.1"], "allow_cidrs": ["127.0.0.1/32"]}
    with Proxy(server, folder, tls=certificates, proxy=SETTINGS, endpoint=endpoint) as proxy:
        for number, header in enumerate((version_1, version_2)):
            for apart in (False, True):
                client = header(7 + 2 * number + apart)
                sent = [client, request] if apart else [client + request]
                for _ in range(LIMIT):
                    assert b"rate limit" not in answer(proxy, "127.0.0.1", *sent)
                assert answer(proxy, "127.0.0.1", *sent).endswith(frame(b"\xff\x10\x04#HY000" + TEXT, 2))
        peers = [line["peer"] for line in proxy.log if line.get("reason") == "max_connection_rate"]
        assert peers == [f"192.0.2.{number}" for number in (7, 8, 9, 10)]


def test_blocked_behind_a_balancer(server: DatabaseServer, folder: Path) -> None:
    """So with those whose logins fail all the time: their own addresses are blocked."""
    endpoint = {"listen": ["haproxy:tcp:0:interface=127.0.0.1"], "allow_cidrs": ["127.0.0.1/32"]}
    with Proxy(server, folder, proxy={"max_failed_logins": 1}, endpoint=endpoint) as proxy:
        for _ in range(10):
            assert b"Malformed" in answer(proxy, "127.0.0.1", version_1(7) + frame(bytes(40), 1))
        assert b"Host '192.0.2.7' is blocked" in answer(proxy, "127.0.0.1", version_1(7) + frame(bytes(40), 1))
        assert b"Malformed" in answer(proxy, "127.0.0.1", version_1(8) + frame(bytes(40), 1))

"""Who may connect at all: `allow_cidrs`, by itself and behind a balancer that speaks the PROXY protocol."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path

import pytest

from rdsproxy.protocol.framing import frame
from rdsproxy.protocol.handshake import HandshakeResponse
from tests.integration.logins import CAPABILITIES
from tests.integration.packets import TIMEOUT, error_code
from tests.integration.proxy import NATIVE, Proxy, one
from tests.servers import Certificates, DatabaseServer

HEADER = b"PROXY TCP4 192.0.2.7 192.0.2.8 40000 3306\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
HEADER_2 = SIGNATURE + b"\x21\x11\0\x0c" + bytes([192, 0, 2, 7, 192, 0, 2, 8]) + b"\x9c\x40\x0c\xea"

pytestmark = pytest.mark.parametrize("database", ["mariadb"], indirect=True)


def heard(proxy: Proxy, source: str, header: bytes = b"") -> bytes:
    """Connect from an address of this machine; give the first bytes that come, none if the connection is closed."""
    with socket.create_connection((proxy.host, proxy.port), TIMEOUT, source_address=(source, 0)) as client:
        try:
            client.sendall(header)
            return client.recv(5)
        except ConnectionError:
            return b""


def test_addresses(server: DatabaseServer, folder: Path) -> None:
    """Other addresses hear nothing at all; the log has them."""
    endpoint = {"allow_cidrs": ["127.0.0.1/32", "127.0.7.0/24", "2001:db8::/32"]}
    with Proxy(server, folder, endpoint=endpoint, admin={"listen": "tcp:0:interface=127.0.0.1"}) as proxy:
        with proxy.connect() as inside:
            assert one(inside, "SELECT 1") == 1
        assert heard(proxy, "127.0.7.9")[4:] == b"\x0a"
        assert heard(proxy, "127.0.0.2") == heard(proxy, "127.0.8.1") == b""
        line = proxy.wait_for_log(lambda line: line.get("reason") == "allow_cidrs")
        assert line["peer"] == "127.0.0.2"
        assert proxy.metrics()["rdsproxy_client_connections_outside_total"] == 2


def test_balancers(server: DatabaseServer, folder: Path) -> None:
    """Only those that are listed may say where a client comes from, in either version of the PROXY protocol."""
    endpoint = {"listen": ["haproxy:tcp:0:interface=127.0.0.1"], "allow_cidrs": ["127.0.0.5/32"]}
    with Proxy(server, folder, endpoint=endpoint) as proxy:
        for header in (HEADER, HEADER_2):
            assert heard(proxy, "127.0.0.5", header)[4:] == b"\x0a"
            assert heard(proxy, "127.0.0.1", header) == b""
        proxy.wait_for_log(lambda line: line.get("reason") == "allow_cidrs" and line["peer"] == "127.0.0.1")


def test_a_balancer_on_a_unix_socket(server: DatabaseServer, certificates: Certificates, folder: Path) -> None:
    """Its clients are not on this machine: they need TLS, and the log has their own addresses."""
    with tempfile.TemporaryDirectory() as short:
        path = f"{short}/balancer"
        with Proxy(
            server,
            folder,
            tls=certificates,
            proxy={"require_tls": True},
            endpoint={"listen": [f"haproxy:unix:{path}"]},
        ) as proxy:
            response = HandshakeResponse(CAPABILITIES, 1 << 24, 45, NATIVE.name.encode(), b"", b"app", "dialog")
            for header in (HEADER, HEADER_2):
                with socket.socket(socket.AF_UNIX) as client, client.makefile("rb") as file:
                    client.settimeout(TIMEOUT)
                    client.connect(path)
                    client.sendall(header)
                    greeting = file.read(4)
                    file.read(int.from_bytes(greeting[:3], "little"))
                    client.sendall(frame(response.build(), 1))
                    assert error_code(file.read()[4:]) == 3159
            line = proxy.wait_for_log(lambda line: line["event"] == "login failed")
            assert line["peer"] == "192.0.2.7"

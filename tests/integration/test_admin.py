"""The admin endpoint: where it listens, and whether it calls the proxy healthy."""

from __future__ import annotations

import http.client
import socket
import ssl
from pathlib import Path

import pytest

from tests.integration.network import Forwarder, until
from tests.integration.proxy import Proxy, ask, one
from tests.integration.targets import behind
from tests.servers import Certificates, DatabaseServer

pytestmark = pytest.mark.parametrize("database", ["mariadb"], indirect=True)

ADMIN = {"listen": "tcp:0:interface=127.0.0.1"}


def health(proxy: Proxy) -> tuple[int, str]:
    answer = proxy.http("/health")
    return answer.status, answer.text


def test_health_waits_for_the_database(server: DatabaseServer, folder: Path) -> None:
    between = Forwarder(server.host, server.port)  # which does not yet take what connects to it
    with Proxy(behind(between, server), folder, admin=ADMIN) as proxy:
        assert health(proxy) == (503, "the database has not been reached yet\n")
        assert "rdsproxy_max_database_connections_allowed" not in proxy.metrics()
        with between:
            until(lambda: health(proxy) == (200, "ok\n"), "it is healthy")
            assert proxy.metrics()["rdsproxy_max_database_connections_allowed"] == 4
            with proxy.connect() as session:
                assert one(session, "SELECT 1") == 1


def test_health_when_no_client_is_let_in(server: DatabaseServer, folder: Path) -> None:
    with Proxy(server, folder, proxy={"max_client_connections": 1}, admin=ADMIN) as proxy:
        with proxy.connect():
            assert health(proxy) == (503, "there are max_client_connections clients already\n")
        until(lambda: health(proxy) == (200, "ok\n"), "it is healthy again")


def test_over_tls(server: DatabaseServer, certificates: Certificates, folder: Path) -> None:
    files = f"privateKey={certificates.private_key}:certKey={certificates.certificate}"
    with Proxy(server, folder, admin={"listen": f"ssl:0:{files}:interface=127.0.0.1"}) as proxy:
        with proxy.connect():
            context = ssl.create_default_context(cafile=str(certificates.ca))
            https = http.client.HTTPSConnection(proxy.host, proxy.admin_port, context=context, timeout=20)
            assert "\nrdsproxy_client_connections 1.0\n" in ask(https, "/metrics").text
        # Another one stays open: it does not keep the proxy from stopping.
        with socket.create_connection((proxy.host, proxy.admin_port)) as plain:
            secure = context.wrap_socket(plain, server_hostname=proxy.host)
            proxy.stop()
            secure.close()


def test_on_a_unix_socket(server: DatabaseServer, folder: Path) -> None:
    path = folder / "admin.sock"
    with Proxy(server, folder, admin={"listen": f"unix:{path}:mode=600"}) as proxy:
        assert path.stat().st_mode & 0o777 == 0o600
        with proxy.connect(), socket.socket(socket.AF_UNIX) as there:
            there.connect(str(path))
            there.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            with there.makefile("rb") as file:
                assert file.read().endswith(b"\r\n\r\nok\n")


def test_to_look_is_not_logged(server: DatabaseServer, folder: Path) -> None:
    with Proxy(server, folder, admin=ADMIN) as proxy:
        with proxy.connect():
            start = len(proxy.log)
            for method in ("GET", "HEAD", "POST"):
                for path in ("/metrics", "/health", "/nothing"):
                    proxy.http(path, method)
            proxy.http("/metrics")
        assert proxy.log[start:] == []
        # Without TLS an idle connection does not keep it from stopping either.
        with socket.create_connection((proxy.host, proxy.admin_port)):
            proxy.stop()


def test_a_kept_connection_serves_many_requests(server: DatabaseServer, folder: Path) -> None:
    with Proxy(server, folder, admin=ADMIN) as proxy, proxy.connect():
        connection = http.client.HTTPConnection(proxy.host, proxy.admin_port, timeout=20)
        connection.connect()
        opened = connection.sock
        for _ in range(3):
            connection.request("GET", "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
            response = connection.getresponse()
            assert response.getheader("content-type", "").startswith("application/openmetrics-text; version=1.0.0")
            assert response.read().endswith(b"# EOF\n")
            assert connection.sock is opened
        connection.close()

"""What the proxy offers its clients, before each server."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from rdsproxy.protocol import capabilities as cap
from rdsproxy.protocol.framing import frame
from rdsproxy.protocol.handshake import Greeting
from tests.integration.network import Forwarder
from tests.integration.packets import DEPRECATE_EOF, SESSION_TRACK, Packets, error_code
from tests.integration.prepared import Client, types_of
from tests.integration.proxy import NATIVE, SHA2, Proxy, one
from tests.integration.targets import behind
from tests.servers import DatabaseServer

# What depends on the proxy's own configuration, or is the proxy's own business.
OWN = cap.CLIENT_SSL | cap.CLIENT_COMPRESS | cap.CLIENT_ZSTD_COMPRESSION_ALGORITHM
# Of no meaning since MySQL 4.1, or refused by the server itself.
MEANINGLESS = cap.CLIENT_NO_SCHEMA | cap.CLIENT_ODBC | cap.CLIENT_IGNORE_SIGPIPE | 1 << 14 | 3 << 30
NOT_OFFERED = {
    "mariadb": cap.CLIENT_CAN_HANDLE_EXPIRED_PASSWORDS | 0b11001 << 32,
    "mysql": cap.CLIENT_CAN_HANDLE_EXPIRED_PASSWORDS
    | cap.CLIENT_OPTIONAL_RESULTSET_METADATA
    | cap.CLIENT_MULTI_FACTOR_AUTHENTICATION,
}
"""As docs/architecture.md says, with the reasons."""


def greeting_of(to: Proxy | DatabaseServer) -> Greeting:
    with socket.create_connection((to.host, to.port), 20) as connection, connection.makefile("rb") as file:
        return Greeting.parse(file.read(int.from_bytes(file.read(4)[:3], "little")))


def test_clients_are_offered_what_the_server_has(server: DatabaseServer, narrow: Proxy) -> None:
    own, shown = greeting_of(server).capabilities, greeting_of(narrow).capabilities
    assert own & ~shown & ~OWN & ~MEANINGLESS == NOT_OFFERED[server.kind]
    assert not shown & ~own & ~OWN


def test_what_was_not_offered_is_not_agreed_on(server: DatabaseServer, narrow: Proxy) -> None:
    """A client that asks all the same is served as one that does not."""
    account = NATIVE if server.kind == "mariadb" else SHA2
    rest = NOT_OFFERED[server.kind]
    flags = DEPRECATE_EOF | SESSION_TRACK
    with (
        Packets(narrow.host, narrow.port, account, flags=flags | rest & 0xFFFFFFFF, extended=rest) as eager,
        Packets(narrow.host, narrow.port, account, flags=flags) as plain,
    ):
        for sql in ("SELECT 1 AS one, 'ä' FROM DUAL", "DO 1", "SELECT * FROM missing", "SELECT CAST('x' AS SIGNED)"):
            assert eager.query(sql) == plain.query(sql)


@pytest.mark.parametrize("database", ["mysql"], indirect=True)
def test_optional_metadata(narrow: Proxy) -> None:
    """The server itself refuses to leave out column definitions: its own connections did not ask for that."""
    flags = cap.CLIENT_OPTIONAL_RESULTSET_METADATA
    with Packets(narrow.host, narrow.port, flags=flags) as client:
        (answer,) = client.query("SET resultset_metadata = 'NONE'")
        assert error_code(answer) == 3640
        assert len(client.query("SELECT 1, 2")) == len([b"count", b"1", b"2", b"eof", b"row", b"eof"])


def test_a_server_that_has_less(server: DatabaseServer, folder: Path) -> None:
    """An older one, or what stands before it: neither the proxy nor its clients go by its version."""
    extra = cap.MARIADB_CLIENT_STMT_BULK_OPERATIONS | cap.CLIENT_QUERY_ATTRIBUTES
    greeted = 0

    def take_away(data: bytes) -> bytes:
        nonlocal greeted
        if data[3:5] != b"\0\x0a":
            return data
        greeted += 1
        greeting = Greeting.parse(data[4:])
        return frame(replace(greeting, capabilities=greeting.capabilities & ~extra).build())

    account = NATIVE if server.kind == "mariadb" else SHA2
    with (
        Forwarder(server.host, server.port, take_away) as between,
        Proxy(behind(between, server), folder, max_connections=1) as proxy,
    ):
        assert not greeting_of(proxy).capabilities & extra
        flags = DEPRECATE_EOF | cap.CLIENT_QUERY_ATTRIBUTES
        with Client(proxy.host, proxy.port, account, flags=flags, extended=extra) as client, proxy.connect() as other:
            assert client.attributes == b""
            assert client.one("SELECT 'text'") == "text"
            number = client.prepare("DO ?")
            client.send(client.execution(number, [1]))
            assert client.packet()[1][0] == 0
            assert error_code(client.command(0xFA, client.bulk(number, [[1]], types_of([1]))[1:])) in (1047, 1295)
            assert one(other, "SELECT 1") == 1
    assert greeted

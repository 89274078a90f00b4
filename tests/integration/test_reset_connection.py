"""COM_RESET_CONNECTION leaves a session as the server itself would."""

from __future__ import annotations

import pytest

from tests.integration.proxy import NATIVE, Proxy, connect, rows, run
from tests.servers import DatabaseServer

RESET = 0x1F
CHARACTER_SETS = (
    "SELECT @@character_set_client, @@character_set_connection, @@character_set_results, @@collation_connection"
)


@pytest.mark.parametrize("charset", ["latin1", "cp1251", "utf8mb4"])
def test_character_sets(proxy: Proxy, server: DatabaseServer, charset: str) -> None:
    """MySQL goes to its default, MariaDB back to what the handshake asked for."""
    with (
        proxy.connect(charset=charset) as through,
        connect(server.host, server.port, NATIVE, server.certificates, charset=charset) as direct,
    ):
        found = []
        for connection in (through, direct):
            run(connection, "SET NAMES cp1250, sql_mode = 'ANSI'")
            connection._execute_command(RESET, b"")  # type: ignore[attr-defined]
            connection._read_ok_packet()  # type: ignore[attr-defined]
            found.append(rows(connection, CHARACTER_SETS))
        assert found[0] == found[1]
